//! Without a primary: this process binds, listens and accepts by itself.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;

use super::Listener;
use crate::event::Address;
use crate::ipc::message::{Handoff, ListenerId};
use crate::report;
use crate::sys::socket::{self, Trouble};
use crate::sys::socket_file::SocketFile;

/// How long accepting rests when the process or the system is short of descriptors or memory. The connection
/// that could not be taken stays in the backlog, so its readiness alone would make a busy loop.
const REST: Duration = Duration::from_millis(100);

/// What is bound here, until the server that serves it has ended.
static BOUND: Mutex<Table> = Mutex::new(Table { last: 0, sockets: BTreeMap::new() });

struct Table {
    last: u32,
    sockets: BTreeMap<ListenerId, Bound>,
}

struct Bound {
    socket: OwnedFd,
    file: Option<SocketFile>,
    /// Lanes that accept from it.
    lanes: usize,
}

pub(super) fn bind(address: Address, backlog: u32) -> io::Result<Listener> {
    match &address {
        Address::Tcp(address) => insert(socket::listen_tcp(*address, backlog)?, None),
        Address::Unix(path) => {
            let (socket, file) = SocketFile::listen(path, backlog)?;
            insert(socket, Some(file))
        }
    }
}

pub(super) fn adopt(socket: OwnedFd) -> io::Result<Listener> {
    socket::prepare_adopted(&socket)?;
    insert(socket, None)
}

fn insert(socket: OwnedFd, file: Option<SocketFile>) -> io::Result<Listener> {
    let address = Address::of(&socket)?;
    let mut table = table();
    table.last += 1;
    let id = ListenerId(table.last);
    table.sockets.insert(id, Bound { socket, file, lanes: 0 });
    Ok(Listener { id, address })
}

fn table() -> MutexGuard<'static, Table> {
    BOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One serving thread's view of its listening sockets.
#[derive(Debug)]
pub(super) struct Sockets {
    sockets: Vec<(ListenerId, UnixStream)>,
    /// Whose turn it is, so that a busy one does not starve the others.
    turn: usize,
}

impl Sockets {
    pub(super) fn open(listeners: &[Listener]) -> io::Result<Sockets> {
        let mut sockets = Sockets { sockets: Vec::new(), turn: 0 };
        for listener in listeners {
            let mut table = table();
            let gone = || io::Error::new(io::ErrorKind::NotConnected, "this listening socket was closed");
            let bound = table.sockets.get_mut(&listener.id).ok_or_else(gone)?;
            // tokio is told that it is a stream, which it never checks: all it does is wait until it is readable.
            let stream = UnixStream::from_std(bound.socket.try_clone()?.into())?;
            bound.lanes += 1;
            sockets.sockets.push((listener.id, stream));
        }
        Ok(sockets)
    }

    /// The next connection. When `leaving`: what the backlogs still hold, then `None`. Cancel-safe.
    pub(super) async fn accept(&mut self, leaving: bool) -> io::Result<Option<(OwnedFd, Handoff)>> {
        if leaving {
            return Ok(self.rest());
        }
        loop {
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) => {
                    report::error(format_args!("accepting: {error}; clients wait in the backlog meanwhile"));
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(OwnedFd, Handoff)>> {
        for _ in 0..self.sockets.len() {
            self.turn = (self.turn + 1) % self.sockets.len();
            let (listener, socket) = &self.sockets[self.turn];
            if let Poll::Ready(accepted) = poll_one(*listener, socket, cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }

    fn rest(&mut self) -> Option<(OwnedFd, Handoff)> {
        let mut accepted = self.sockets.iter().map(|(listener, socket)| {
            loop {
                match socket::accept(socket) {
                    Ok((socket, peer)) => return Some((socket, Handoff { listener: *listener, peer })),
                    Err(error) if Trouble::of(&error) == Trouble::Connection => {}
                    Err(_) => return None,
                }
            }
        });
        accepted.find_map(|accepted| accepted)
    }
}

fn poll_one(
    listener: ListenerId,
    socket: &UnixStream,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(OwnedFd, Handoff)>> {
    loop {
        ready!(socket.poll_read_ready(cx))?;
        match socket.try_io(Interest::READABLE, || socket::accept(socket)) {
            Ok((socket, peer)) => return Poll::Ready(Ok((socket, Handoff { listener, peer }))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if Trouble::of(&error) == Trouble::Connection => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Sockets {
    /// The last lane of a listener closes it: its server has ended.
    fn drop(&mut self) {
        for (id, _) in self.sockets.drain(..) {
            let mut table = table();
            let Some(bound) = table.sockets.get_mut(&id) else { continue };
            bound.lanes -= 1;
            if bound.lanes == 0
                && let Some(Bound { file: Some(file), .. }) = table.sockets.remove(&id)
            {
                file.remove();
            }
        }
    }
}
