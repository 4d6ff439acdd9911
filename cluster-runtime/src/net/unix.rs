//! Unix sockets.

use std::future::poll_fn;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};

use tokio::net::unix::SocketAddr;

use super::accept::{Acceptor, Incoming, Listening, sealed};
use super::options::ListenOptions;
use super::stream::UnixStream;
use crate::Address;
use crate::worker::{Connection, Options};

/// A Unix socket that listens, in place of [`tokio::net::UnixListener`]; see [`TcpListener`](super::TcpListener), which is
/// the same for TCP. Node: `net.Server` on a path.
#[derive(Debug)]
pub struct UnixListener {
    acceptor: Acceptor,
    path: PathBuf,
}

impl UnixListener {
    /// Listens on a path; one that begins with a byte of 0 is a name in the abstract namespace. A relative one is relative
    /// to this worker's directory. Unlike tokio's, this is a question to the primary, to be awaited; and a socket file that
    /// nobody answers behind, left by a program that is gone, is replaced. A live one and any other file are never touched. The file
    /// is removed when the socket is closed.
    ///
    /// # Errors
    /// "Address in use" if somebody answers there, or it is not a socket; else the kernel's.
    ///
    /// # Panics
    /// In the primary.
    pub async fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::options().bind(path).await
    }

    /// To bind it in another way than as usual.
    pub fn options() -> ListenOptions<UnixListener> {
        ListenOptions::new()
    }

    pub(super) async fn bind_with(path: &Path, options: &Options) -> io::Result<UnixListener> {
        UnixListener::of(Acceptor::bind(Address::Unix(path.to_owned()), options).await?)
    }

    /// As [`TcpListener::inherited`](super::TcpListener::inherited).
    ///
    /// # Errors
    /// As there.
    pub async fn inherited(number: RawFd) -> io::Result<UnixListener> {
        UnixListener::of(Acceptor::inherited(number).await?)
    }

    /// As [`TcpListener::activated`](super::TcpListener::activated). Its file is left to whoever made it.
    ///
    /// # Errors
    /// As there.
    pub async fn activated(name: &str) -> io::Result<UnixListener> {
        UnixListener::of(Acceptor::activated(name).await?)
    }

    /// As [`TcpListener::from_std`](super::TcpListener::from_std).
    ///
    /// # Errors
    /// If it does not listen, or can't be given to the primary.
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
        UnixListener::of(Acceptor::adopt(OwnedFd::from(listener))?)
    }

    fn of(acceptor: Acceptor) -> io::Result<UnixListener> {
        match acceptor.address() {
            Address::Unix(path) => Ok(UnixListener { path: path.clone(), acceptor }),
            _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    /// The next connection, and where it comes from: mostly from no address. See
    /// [`TcpListener::accept`](super::TcpListener::accept).
    ///
    /// # Errors
    /// As there.
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`accept`](UnixListener::accept). Unlike tokio's it may be called by several tasks, and wakes all of them.
    ///
    /// # Errors
    /// As `accept`.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, SocketAddr)>> {
        let stream = self.stream(ready!(self.acceptor.poll_accept(cx))?)?;
        let peer = stream.peer_addr()?;
        Poll::Ready(Ok((stream, peer)))
    }

    /// The connections as a stream, which ends when this worker leaves and has accepted everything that was handed to it.
    pub fn incoming(&self) -> Incoming<&UnixListener> {
        Incoming::of(self)
    }

    /// As [`incoming`](UnixListener::incoming), with the listener in it.
    pub fn into_incoming(self) -> Incoming<UnixListener> {
        Incoming::of(self)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the path is longer than an address can be.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = match self.path.as_os_str().as_bytes() {
            [0, name @ ..] => std::os::unix::net::SocketAddr::from_abstract_name(name)?,
            _ => std::os::unix::net::SocketAddr::from_pathname(&self.path)?,
        };
        Ok(address.into())
    }
}

impl sealed::Sealed for UnixListener {}

#[expect(private_interfaces, reason = "sealed")]
impl Listening for UnixListener {
    type Stream = UnixStream;

    fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    fn stream(&self, connection: Connection) -> io::Result<UnixStream> {
        UnixStream::of(connection)
    }
}
