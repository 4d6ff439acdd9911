//! Ways to bind other than the usual.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::path::Path;

use tokio::net::ToSocketAddrs;

use super::{TcpListener, UdpSocket, UnixListener};
use crate::worker::Options;

/// How a socket is to be bound; from [`TcpListener::options`], [`UnixListener::options`] or [`UdpSocket::options`]. Node: the
/// options of `server.listen` and `socket.bind`.
///
/// ```no_run
/// # async fn body() -> std::io::Result<()> {
/// use cluster::net::TcpListener;
///
/// let listener = TcpListener::options().backlog(4096).ipv6_only(true).bind("[::]:8000").await?;
/// # Ok(())
/// # }
/// ```
///
/// Workers share a socket when they ask for the same address in the same way. Of the backlog the first one's counts.
#[must_use = "options bind nothing by themselves"]
pub struct ListenOptions<L> {
    options: Options,
    of: PhantomData<fn() -> L>,
}

impl<L> ListenOptions<L> {
    pub(super) fn new() -> ListenOptions<L> {
        ListenOptions { options: Options::default(), of: PhantomData }
    }

    /// Whether the worker binds by itself, and shares the socket with nobody: with port 0 each has another port, and with
    /// any other all but one meet "address in use". Connections don't pass through the primary, and there is no event
    /// `listening`. Node: `exclusive`.
    pub fn exclusive(mut self, exclusive: bool) -> ListenOptions<L> {
        self.options.exclusive = exclusive;
        self
    }

    fn with(mut self, set: impl FnOnce(&mut Options)) -> ListenOptions<L> {
        set(&mut self.options);
        self
    }
}

impl ListenOptions<TcpListener> {
    /// How many clients may wait until they are accepted; 1024 where nothing is said. The kernel has a limit of its own,
    /// `net.core.somaxconn`. Node: `backlog`.
    pub fn backlog(self, clients: u32) -> ListenOptions<TcpListener> {
        self.with(|options| options.backlog = clients)
    }

    /// Whether an IPv6 address leaves the same port of IPv4 to others; where nothing is said, the system decides, which
    /// mostly says no. For an IPv4 address `true` is an error. Node: `ipv6Only`.
    pub fn ipv6_only(self, only: bool) -> ListenOptions<TcpListener> {
        self.with(|options| options.ipv6_only = Some(only))
    }

    /// Whether each worker binds a socket of its own on the same port, among which the kernel chooses for each connection
    /// (SO_REUSEPORT). What waits in the backlog of a worker that dies is lost. Otherwise as
    /// [`exclusive`](ListenOptions::exclusive). Node: `reusePort`.
    pub fn reuse_port(self, reuse: bool) -> ListenOptions<TcpListener> {
        self.with(|options| options.reuse_port = reuse)
    }

    /// Binds and listens; see [`TcpListener::bind`].
    ///
    /// # Errors
    /// As there.
    pub async fn bind<A: ToSocketAddrs>(&self, addr: A) -> io::Result<TcpListener> {
        TcpListener::bind_with(addr, &self.options).await
    }
}

impl ListenOptions<UnixListener> {
    /// As for [TCP](ListenOptions::<TcpListener>::backlog).
    pub fn backlog(self, clients: u32) -> ListenOptions<UnixListener> {
        self.with(|options| options.backlog = clients)
    }

    /// The permissions of the socket's file, exactly; `0o666` lets everybody connect who can reach it. Where nothing is
    /// said, the primary's umask decides. They are in force before anybody can connect. Node: `readableAll` and
    /// `writableAll`.
    pub fn mode(self, mode: u32) -> ListenOptions<UnixListener> {
        self.with(|options| options.mode = Some(mode))
    }

    /// Binds and listens; see [`UnixListener::bind`].
    ///
    /// # Errors
    /// As there.
    pub async fn bind(&self, path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::bind_with(path.as_ref(), &self.options).await
    }
}

impl ListenOptions<UdpSocket> {
    /// As for [TCP](ListenOptions::<TcpListener>::ipv6_only).
    pub fn ipv6_only(self, only: bool) -> ListenOptions<UdpSocket> {
        self.with(|options| options.ipv6_only = Some(only))
    }

    /// As for [TCP](ListenOptions::<TcpListener>::reuse_port).
    pub fn reuse_port(self, reuse: bool) -> ListenOptions<UdpSocket> {
        self.with(|options| options.reuse_port = reuse)
    }

    /// Binds; see [`UdpSocket::bind`].
    ///
    /// # Errors
    /// As there.
    pub async fn bind<A: ToSocketAddrs>(&self, addr: A) -> io::Result<UdpSocket> {
        UdpSocket::bind_with(addr, &self.options).await
    }
}

impl<L> Clone for ListenOptions<L> {
    fn clone(&self) -> ListenOptions<L> {
        ListenOptions { options: self.options, of: PhantomData }
    }
}

impl<L> fmt::Debug for ListenOptions<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}
