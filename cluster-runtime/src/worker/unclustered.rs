//! Without a primary, or past it: this process binds, listens and accepts by itself.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::Sleep;

use super::bind::{Datagrams, Listener, Of, Options};
use crate::event::Address;
use crate::ipc::message::{Handoff, ListenerId};
use crate::report;
use crate::sys::activation;
use crate::sys::socket::{self, Trouble};
use crate::sys::socket_file::SocketFile;

/// How long accepting rests when the process or the system is short of descriptors or memory. The connection
/// that could not be taken stays in the backlog, so its readiness alone would make a busy loop.
const REST: Duration = Duration::from_millis(100);

/// A socket that is bound here: closed, and its file removed, when its server has ended.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) id: ListenerId,
    socket: OwnedFd,
    file: Option<SocketFile>,
}

pub(super) fn bind(address: Address, options: &Options) -> io::Result<Listener> {
    super::settings().allow(&address)?;
    if options.is_shared()
        && let Some(socket) = activation::at(&address)?
    {
        return adopt(socket);
    }
    match &address {
        Address::Unix(path) => {
            let (socket, file) = SocketFile::listen(path, options.backlog, options.mode)?;
            listener(socket, Some(address), file)
        }
        Address::Tcp(address) => {
            listener(socket::listen_tcp(*address, options.backlog, options.manner())?, None, None)
        }
        Address::Udp(_) => Err(io::Error::other("nobody listens on UDP")),
    }
}

pub(super) fn bind_udp(address: &Address, options: &Options) -> io::Result<Datagrams> {
    super::settings().allow(address)?;
    if options.is_shared()
        && let Some(socket) = activation::at(address)?
    {
        return adopt_udp(socket);
    }
    match address {
        Address::Udp(address) => Ok((socket::bind_udp(*address, options.manner())?, None)),
        _ => Err(io::Error::other("this is not a UDP address")),
    }
}

pub(super) fn adopt(socket: OwnedFd) -> io::Result<Listener> {
    socket::prepare_adopted(&socket)?;
    listener(socket, None, None)
}

pub(super) fn adopt_udp(socket: OwnedFd) -> io::Result<Datagrams> {
    socket::prepare_adopted_udp(&socket)?;
    Ok((socket, None))
}

fn listener(socket: OwnedFd, address: Option<Address>, file: Option<SocketFile>) -> io::Result<Listener> {
    static LAST: AtomicU32 = AtomicU32::new(0);
    // A path may be longer than the kernel tells.
    let address = address.map_or_else(|| Address::of(&socket), Ok)?;
    let id = ListenerId(LAST.fetch_add(1, Ordering::Relaxed));
    Ok(Listener { address, of: Of::Here(Arc::new(Bound { id, socket, file })) })
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            file.remove();
        }
    }
}

/// One serving thread's view of its listening sockets.
#[derive(Debug)]
pub(super) struct Sockets {
    sockets: Vec<(ListenerId, UnixStream)>,
    /// By this process; empty of those that the primary has too.
    bound: Vec<Arc<Bound>>,
    /// Whose turn it is, so that a busy one does not starve the others.
    turn: usize,
    resting: Option<Pin<Box<Sleep>>>,
    /// It has begun to rest, and nobody was told.
    short: bool,
}

impl Sockets {
    pub(super) fn open(listeners: &[Listener]) -> io::Result<Sockets> {
        let (mut sockets, mut bound) = (Vec::new(), Vec::new());
        for listener in listeners {
            let Of::Here(here) = &listener.of else {
                return Err(io::Error::other("this socket is the primary's"));
            };
            // tokio is told that it is a stream, which it never checks: all it does is wait until it is readable.
            sockets.push((here.id, UnixStream::from_std(here.socket.try_clone()?.into())?));
            bound.push(Arc::clone(here));
        }
        Ok(Sockets { sockets, bound, turn: 0, resting: None, short: false })
    }

    /// Of these, which the primary has too.
    pub(super) fn given(sockets: Vec<(ListenerId, OwnedFd)>) -> io::Result<Sockets> {
        let readable = |(id, fd): (_, OwnedFd)| Ok((id, UnixStream::from_std(fd.into())?));
        let sockets = sockets.into_iter().map(readable).collect::<io::Result<_>>()?;
        Ok(Sockets { sockets, bound: Vec::new(), turn: 0, resting: None, short: false })
    }

    /// Accepts no more.
    pub(super) fn close(&mut self) {
        self.sockets.clear();
        self.resting = None;
    }

    /// Whether it has begun to rest since this was last asked.
    pub(super) fn falls_short(&mut self) -> bool {
        std::mem::take(&mut self.short)
    }

    pub(super) fn ids(&self) -> Vec<ListenerId> {
        self.sockets.iter().map(|(id, _)| *id).collect()
    }

    /// The next connection. When `leaving`: what the backlogs still hold, then `None`.
    pub(super) fn poll_next(
        &mut self,
        leaving: bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<(OwnedFd, Handoff)>>> {
        if leaving {
            return Poll::Ready(Ok(self.rest()));
        }
        loop {
            if let Some(resting) = &mut self.resting {
                ready!(resting.as_mut().poll(cx));
                self.resting = None;
            }
            match ready!(self.poll_accept(cx)) {
                Ok(accepted) => return Poll::Ready(Ok(Some(accepted))),
                // It listens no more, and never will: whoever else has it has shut it down. The primary says so of those that it has
                // too; at a stop it was the primary, and no error, which may be seen here before its word that this worker is to leave.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    if !self.bound.is_empty() {
                        report::error(format_args!("accepting: a listening socket was shut down"));
                    }
                    self.sockets.remove(self.turn);
                    self.turn = 0;
                }
                Err(error) => {
                    report::error(format_args!("accepting: {error}; clients wait in the backlog meanwhile"));
                    self.resting = Some(Box::pin(tokio::time::sleep(REST)));
                    self.short = true;
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
