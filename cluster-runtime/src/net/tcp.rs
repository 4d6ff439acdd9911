//! TCP.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::task::{Context, Poll, ready};

use tokio::net::ToSocketAddrs;

use super::accept::{Acceptor, Incoming, Listening, sealed};
use super::options::ListenOptions;
use super::stream::TcpStream;
use crate::Address;
use crate::worker::{Connection, Options};

/// A TCP socket that listens, in place of [`tokio::net::TcpListener`]. Node: `net.Server`.
///
/// In a worker the primary holds the socket, for all workers that bind the same address, and keeps it while workers come
/// and go. Dropping it is giving it up: what was handed to this worker and not accepted goes to others.
#[derive(Debug)]
pub struct TcpListener {
    acceptor: Acceptor,
    address: SocketAddr,
}

impl TcpListener {
    /// Listens on the first address of `addr` that can be bound. With port 0 the kernel chooses one, the same for all
    /// workers; binding it once more is another port. Dropped before it resolves, nothing is bound. Node:
    /// `server.listen`.
    ///
    /// In a worker this is one question to the primary. The worker takes connections, and counts as listening, from the
    /// first `accept` on.
    ///
    /// # Errors
    /// If `addr` can't be resolved, or none of its addresses be bound: the last one's error, as the kernel said it.
    ///
    /// # Panics
    /// In the primary: serve in `main`, which runs in the workers.
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        TcpListener::options().bind(addr).await
    }

    /// To bind it in another way than as usual.
    pub fn options() -> ListenOptions<TcpListener> {
        ListenOptions::new()
    }

    pub(super) async fn bind_with<A: ToSocketAddrs>(addr: A, options: &Options) -> io::Result<TcpListener> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any address");
        for address in tokio::net::lookup_host(addr).await? {
            match Acceptor::bind(Address::Tcp(address), options).await {
                Ok(acceptor) => return TcpListener::of(acceptor),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Listens on a socket that the program was started with: by systemd, say, or a shell. `number` is that of its
    /// descriptor in the primary, where it stays; a worker can't name what the primary opened later. Without a cluster,
    /// in this process. Node: `server.listen({ fd })`.
    ///
    /// # Errors
    /// EBADF if the program was started without this descriptor, ENOTSOCK if it is no socket, EINVAL if it does not
    /// listen or is not TCP.
    pub async fn inherited(number: RawFd) -> io::Result<TcpListener> {
        TcpListener::of(Acceptor::inherited(number).await?)
    }

    /// Listens on a socket that a service manager has opened and passed to this program (LISTEN_FDS), by its name: what
    /// `FileDescriptorName=` says in a socket unit, else the unit's own name. Of several that have this name it is the first;
    /// the others are found by their addresses, as all of them are: [`bind`](TcpListener::bind) on the address of such
    /// a socket yields it, with the options that it was made with. It stays open as long as the program runs, also when no worker
    /// has a use for it, and at a stop who waits in its backlog is left to whoever has it next. Without a
    /// cluster, in this process, where [`start`](crate::Cluster::start) has run. Node has no word for it.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound), with the names that there are; EINVAL if it is not TCP; EADDRINUSE if this worker
    /// has asked by this name already.
    pub async fn activated(name: &str) -> io::Result<TcpListener> {
        TcpListener::of(Acceptor::activated(name).await?)
    }

    /// Listens on a socket of this process that listens already. In a worker it goes to the primary, which accepts for
    /// all workers that give it this one. Blocks for one round trip. tokio's has to be non-blocking; this need not.
    ///
    /// # Errors
    /// If it does not listen, or can't be given to the primary.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::of(Acceptor::adopt(OwnedFd::from(listener))?)
    }

    fn of(acceptor: Acceptor) -> io::Result<TcpListener> {
        match *acceptor.address() {
            Address::Tcp(address) => Ok(TcpListener { acceptor, address }),
            _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    /// The next connection, and where it comes from. Cancel-safe. Pends for ever when this worker leaves and has
    /// accepted everything that was handed to it.
    ///
    /// # Errors
    /// If the primary can't be asked for connections, or receiving them fails; never one connection's own.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`accept`](TcpListener::accept). Unlike tokio's it may be called by several tasks, and wakes all of them.
    ///
    /// # Errors
    /// As `accept`.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let stream = self.stream(ready!(self.acceptor.poll_accept(cx))?)?;
        let peer = stream.peer_addr()?;
        Poll::Ready(Ok((stream, peer)))
    }

    /// The connections as a stream, which ends when this worker leaves and has accepted everything that was handed to it.
    pub fn incoming(&self) -> Incoming<&TcpListener> {
        Incoming::of(self)
    }

    /// As [`incoming`](TcpListener::incoming), with the listener in it.
    pub fn into_incoming(self) -> Incoming<TcpListener> {
        Incoming::of(self)
    }

    /// Where it listens, with the real port.
    ///
    /// # Errors
    /// Never: it is tokio's signature.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl sealed::Sealed for TcpListener {}

#[expect(private_interfaces, reason = "sealed")]
impl Listening for TcpListener {
    type Stream = TcpStream;

    fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    fn stream(&self, connection: Connection) -> io::Result<TcpStream> {
        TcpStream::of(connection, self.address)
    }
}
