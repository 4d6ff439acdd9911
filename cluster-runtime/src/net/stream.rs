//! Connections: tokio's, counted until they are dropped.

use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::worker::{Connection, Fresh, Spent};

/// A TCP connection that was accepted: a [`tokio::net::TcpStream`], which it derefs to. It counts against
/// [`max_connections`](crate::Cluster::max_connections), and a worker that leaves waits for it, until it is dropped.
/// Node: `net.Socket`.
#[derive(Debug)]
pub struct TcpStream {
    stream: tokio::net::TcpStream,
    peer: Option<SocketAddr>,
    /// Unknown where the listener's address is that of all interfaces.
    local: Option<SocketAddr>,
    /// Until its first byte, in either direction.
    fresh: Option<Fresh>,
    // After the stream, in the order of drops: who is told of its end finds it closed.
    _spent: Spent,
}

impl TcpStream {
    pub(super) fn of(connection: Connection, listener: SocketAddr) -> io::Result<TcpStream> {
        let Connection { socket, peer, permit, .. } = connection;
        // Non-blocking from its first moment.
        let stream = tokio::net::TcpStream::from_std(std::net::TcpStream::from(socket))?;
        let local = (!listener.ip().is_unspecified()).then_some(listener);
        Ok(TcpStream { stream, peer, local, fresh: Some(Fresh::new()), _spent: permit.counted() })
    }

    /// Where it comes from; known without a system call.
    ///
    /// # Errors
    /// Those of getpeername(2), where it was not told.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.peer.map_or_else(|| self.stream.peer_addr(), Ok)
    }

    /// Which of our addresses it came to; known without a system call where the listener has one of its own.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local.map_or_else(|| self.stream.local_addr(), Ok)
    }

    /// tokio's stream alone. From now on nobody counts it: it gives its place to another, and a worker that leaves does
    /// not wait for it.
    pub fn into_inner(self) -> tokio::net::TcpStream {
        self.stream
    }
}

/// A connection over a Unix socket that was accepted: a [`tokio::net::UnixStream`]; see [`TcpStream`].
#[derive(Debug)]
pub struct UnixStream {
    stream: tokio::net::UnixStream,
    fresh: Option<Fresh>,
    _spent: Spent,
}

impl UnixStream {
    pub(super) fn of(connection: Connection) -> io::Result<UnixStream> {
        let stream = std::os::unix::net::UnixStream::from(connection.socket);
        let stream = tokio::net::UnixStream::from_std(stream)?;
        let spent = connection.permit.counted();
        Ok(UnixStream { stream, fresh: Some(Fresh::new()), _spent: spent })
    }

    /// tokio's stream alone; see [`TcpStream::into_inner`].
    pub fn into_inner(self) -> tokio::net::UnixStream {
        self.stream
    }
}

macro_rules! stream {
    ($ours:ty, $theirs:ty) => {
        impl Deref for $ours {
            type Target = $theirs;

            fn deref(&self) -> &$theirs {
                &self.stream
            }
        }

        impl DerefMut for $ours {
            fn deref_mut(&mut self) -> &mut $theirs {
                &mut self.stream
            }
        }

        impl AsyncRead for $ours {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
                if read.is_ready() {
                    self.fresh = None;
                }
                read
            }
        }

        impl AsyncWrite for $ours {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.fresh = None;
                Pin::new(&mut self.stream).poll_write(cx, bytes)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.fresh = None;
                Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
            }

            fn is_write_vectored(&self) -> bool {
                self.stream.is_write_vectored()
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).poll_shutdown(cx)
            }
        }

        impl AsFd for $ours {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.stream.as_fd()
            }
        }

        impl AsRawFd for $ours {
            fn as_raw_fd(&self) -> RawFd {
                self.stream.as_raw_fd()
            }
        }
    };
}

stream!(TcpStream, tokio::net::TcpStream);
stream!(UnixStream, tokio::net::UnixStream);
