//! Listening sockets, asked of the primary.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::{To, here, unclustered};
use crate::event::Address;
use crate::ipc::message::{BoundTo, ListenerId, ToPrimary, ToWorker};

/// How often each address was asked for.
static ASKED: Mutex<BTreeMap<Address, u32>> = Mutex::new(BTreeMap::new());

/// A socket that this worker may serve.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(super) id: ListenerId,
    pub(super) address: Address,
    /// Unclustered, the socket itself.
    pub(super) here: Option<Arc<unclustered::Bound>>,
}

impl Listener {
    pub(crate) fn id(&self) -> ListenerId {
        self.id
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
}

impl From<BoundTo> for Listener {
    fn from(bound: BoundTo) -> Listener {
        Listener { id: bound.listener, address: bound.address, here: None }
    }
}

/// Asks the primary to listen on an address, or to share what another worker asked for. Blocks for one round
/// trip. Unclustered: binds here.
pub(crate) fn bind(address: Address, backlog: u32) -> io::Result<Listener> {
    let address = match address {
        // The primary may have been started in another directory than we are in now.
        Address::Unix(path) => Address::Unix(std::path::absolute::<&Path>(&path)?),
        tcp => tcp,
    };
    let To::Primary(link) = &here().to else { return unclustered::bind(address, backlog) };
    let nth = {
        let mut binds = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = binds.entry(address.clone()).or_default();
        std::mem::replace(nth, *nth + 1)
    };
    bound(link.call(|call| ToPrimary::Bind { call, address, nth, backlog }, None)?)
}

/// Gives the primary a listening socket of this process. Unclustered: serves it here.
pub(crate) fn adopt(socket: OwnedFd) -> io::Result<Listener> {
    match &here().to {
        To::Primary(link) => bound(link.call(|call| ToPrimary::Adopt { call }, Some(socket))?),
        To::Unclustered(_) => unclustered::adopt(socket),
    }
}

fn bound((answer, _): (ToWorker, Option<OwnedFd>)) -> io::Result<Listener> {
    match answer {
        ToWorker::Bound { result, .. } => Ok(result?.into()),
        _ => Err(io::Error::other("the primary answered another question")),
    }
}
