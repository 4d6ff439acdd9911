//! Without a primary: this process binds, listens and accepts by itself.
//!
//! A lane here is one serving thread's view of the listening sockets. Every lane holds a duplicate of each
//! socket, so that a socket is closed when its server has ended: with the last lane and the last `Listener`.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::{Account, BindAddress, Connection, ListenerId, Permit};
use crate::Address;
use crate::race::unless;

/// How long accepting rests when the process or the system has no descriptor or memory left. The connection
/// that could not be taken stays in the backlog, so its readiness alone would make a busy loop.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(500);

/// A new listening socket and the address it got, which tells the port where 0 was asked for.
pub(super) fn bind(address: &BindAddress, backlog: u32) -> io::Result<(OwnedFd, Address)> {
    let socket = match address {
        BindAddress::Tcp(address) => {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.bind(&(*address).into())?;
            socket
        }
        BindAddress::Unix(path) => {
            // A socket file outlives the process that made it, and bind(2) refuses to take its place.
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            socket
        }
    };
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    adopt(socket.into())
}

/// Makes a listening socket that somebody else bound fit for a lane.
pub(super) fn adopt(socket: OwnedFd) -> io::Result<(OwnedFd, Address)> {
    let view = SockRef::from(&socket);
    view.set_nonblocking(true)?;
    let name = view.local_addr()?;
    let address = match (name.as_socket(), name.as_pathname(), name.as_abstract_namespace()) {
        (Some(address), _, _) => Address::Tcp(address),
        (None, Some(path), _) => Address::Unix(path.to_owned()),
        (None, None, Some(name)) => Address::Unix(format!("@{}", String::from_utf8_lossy(name)).into()),
        (None, None, None) => Address::Unix("".into()),
    };
    Ok((socket, address))
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Order {
    Take,
    Pause,
    Close,
}

/// Orders to one lane, from any thread.
#[derive(Clone)]
pub(crate) struct LaneRemote(Arc<watch::Sender<Order>>);

impl LaneRemote {
    /// The lane takes what its backlog holds, as far as the account allows, and then ends.
    pub(crate) fn close(&self) {
        self.0.send_replace(Order::Close);
    }

    /// Leaves new connections in the backlog until `resume`.
    pub(crate) fn pause(&self) {
        self.order(Order::Pause);
    }

    pub(crate) fn resume(&self) {
        self.order(Order::Take);
    }

    /// Closed is for good.
    fn order(&self, order: Order) {
        self.0.send_if_modified(|now| *now != Order::Close && std::mem::replace(now, order) != order);
    }
}

pub(crate) struct Lane {
    sockets: Sockets,
    account: Account,
    orders: watch::Receiver<Order>,
    remote: LaneRemote,
}

impl Lane {
    pub(super) fn open<'a>(
        listeners: impl Iterator<Item = (ListenerId, &'a OwnedFd)>,
        account: &Account,
    ) -> io::Result<Lane> {
        let (remote, orders) = watch::channel(Order::Take);
        Ok(Lane {
            sockets: Sockets { sockets: listeners.map(listen).collect::<io::Result<_>>()?, next: 0 },
            account: account.clone(),
            orders,
            remote: LaneRemote(Arc::new(remote)),
        })
    }

    pub(crate) fn remote(&self) -> LaneRemote {
        self.remote.clone()
    }

    /// The next connection, or `None` when the lane is closed and nothing follows. Cancel-safe.
    pub(crate) async fn receive(&mut self) -> io::Result<Option<Connection>> {
        let Lane { sockets, account, orders, .. } = self;
        loop {
            let order = *orders.borrow_and_update();
            match order {
                Order::Take => {
                    if let Some(taken) = unless(orders.changed(), sockets.accept(account)).await {
                        return taken;
                    }
                }
                Order::Pause => {
                    if orders.changed().await.is_err() {
                        return Ok(None);
                    }
                }
                Order::Close => return Ok(account.try_permit().and_then(|permit| sockets.rest(permit))),
            }
        }
    }
}

/// A listening socket, whatever its family, in the clothes of a stream: tokio asks the kernel for readiness
/// and nothing else, and its listeners would accept only into streams of their own, each registered at once
/// and then again after its way through the lane.
fn listen((id, socket): (ListenerId, &OwnedFd)) -> io::Result<(ListenerId, UnixStream)> {
    Ok((id, UnixStream::from_std(StdStream::from(socket.try_clone()?))?))
}

struct Sockets {
    sockets: Vec<(ListenerId, UnixStream)>,
    /// Whose turn it is, so that a busy listener does not starve the others.
    next: usize,
}

impl Sockets {
    /// The permit comes first: a connection that the account has no room for stays in the backlog.
    async fn accept(&mut self, account: &Account) -> io::Result<Option<Connection>> {
        let Some(permit) = account.permit().await else { return Ok(None) };
        loop {
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Ok((listener, socket, peer)) => {
                    return Ok(Some(Connection { socket, listener, peer, permit }));
                }
                Err(error) if is_shortage(&error) => {
                    tracing::warn!(%error, "accepting rests for {SHORTAGE_PAUSE:?}: raise the limit on open files");
                    tokio::time::sleep(SHORTAGE_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        for turn in 0..self.sockets.len() {
            let at = (self.next + turn) % self.sockets.len();
            let (id, socket) = &self.sockets[at];
            // Only a poll that found nothing leaves the waker behind, hence the loop.
            while let Poll::Ready(ready) = socket.poll_read_ready(cx) {
                ready?;
                match socket.try_io(Interest::READABLE, || accept(socket)) {
                    Ok((taken, peer)) => {
                        self.next = at + 1;
                        return Poll::Ready(Ok((*id, taken, peer)));
                    }
                    Err(error) if is_transient(&error) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        }
        Poll::Pending
    }

    /// One more out of a backlog whose readiness nobody waits for any more.
    fn rest(&self, permit: Permit) -> Option<Connection> {
        let taken = self.sockets.iter().find_map(|(id, socket)| Some((*id, accept(socket).ok()?)));
        taken.map(|(listener, (socket, peer))| Connection { socket, listener, peer, permit })
    }
}

type Accepted = (ListenerId, OwnedFd, Option<std::net::SocketAddr>);

fn accept(socket: impl AsFd) -> io::Result<(OwnedFd, Option<std::net::SocketAddr>)> {
    let (taken, peer) = acceptfrom_with(socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    Ok((taken, peer.and_then(|peer| peer.try_into().ok())))
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// Nothing there after all, or what befell the connection that accept(2) would have returned: the next one may
/// be well.
fn is_transient(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || !is_shortage(error)
            && !matches!(
                Errno::from_io_error(error),
                None | Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::FAULT | Errno::OPNOTSUPP)
            )
}
