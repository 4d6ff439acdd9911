//! The worker's side of the cluster.

mod unclustered;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Address;

pub(crate) use unclustered::{Lane, LaneRemote};

pub(crate) enum BindAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub(crate) struct ListenerId(u32);

#[derive(Clone, Debug)]
pub(crate) struct Listener {
    id: ListenerId,
    address: Address,
    kept: Arc<OwnedFd>,
}

impl Listener {
    fn new(socket: OwnedFd, address: Address) -> Listener {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Listener { id: ListenerId(NEXT.fetch_add(1, Ordering::Relaxed)), address, kept: Arc::new(socket) }
    }

    pub(crate) fn id(&self) -> ListenerId {
        self.id
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
}

pub(crate) fn bind(address: BindAddress, backlog: u32) -> io::Result<Listener> {
    let (socket, address) = unclustered::bind(&address, backlog)?;
    Ok(Listener::new(socket, address))
}

pub(crate) fn adopt(socket: OwnedFd) -> io::Result<Listener> {
    let (socket, address) = unclustered::adopt(socket)?;
    Ok(Listener::new(socket, address))
}

#[derive(Clone)]
pub(crate) struct Account(Arc<Semaphore>);

impl Account {
    pub(crate) fn new(limit: usize) -> Account {
        Account(Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))))
    }

    async fn permit(&self) -> Option<Permit> {
        Arc::clone(&self.0).acquire_owned().await.ok().map(Permit)
    }

    fn try_permit(&self) -> Option<Permit> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(Permit)
    }
}

pub(crate) struct Permit(#[allow(dead_code)] OwnedSemaphorePermit);

pub(crate) fn open_lane(listeners: &[Listener], account: &Account) -> io::Result<Lane> {
    Lane::open(listeners.iter().map(|listener| (listener.id, &*listener.kept)), account)
}

pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    pub(crate) listener: ListenerId,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) permit: Permit,
}

pub(crate) fn drain_deadline() -> Option<tokio::time::Instant> {
    None
}

pub(crate) struct WorkerSettings {
    pub(crate) threads: usize,
    pub(crate) max_connections: Option<usize>,
    #[allow(dead_code)]
    pub(crate) drain_timeout: Duration,
}

pub(crate) fn settings() -> &'static WorkerSettings {
    static SETTINGS: WorkerSettings =
        WorkerSettings { threads: 1, max_connections: None, drain_timeout: Duration::from_secs(30) };
    &SETTINGS
}
