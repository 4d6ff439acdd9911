//! UDP.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use tokio::net::ToSocketAddrs;

use super::options::ListenOptions;
use crate::Address;
use crate::worker::{self, Datagrams, Listener, Options};

/// A UDP socket: a [`tokio::net::UdpSocket`], which it derefs to. Node: `dgram.Socket`.
///
/// In a worker the primary binds it, once for all workers that bind the same address, and each has the same socket:
/// whoever reads first gets the datagram. It does not close while workers come and go. There are no connections to wait
/// for: a worker that has nothing else ends as soon as it is told to leave, unless it asks for
/// [`shutdown_signal`](crate::shutdown_signal).
#[derive(Debug)]
pub struct UdpSocket {
    socket: tokio::net::UdpSocket,
    // After the socket, in the order of drops: given up when it is closed.
    _listener: Option<Listener>,
}

impl UdpSocket {
    /// Binds the first address of `addr` that can be bound; with port 0, as [`TcpListener::bind`](super::TcpListener::bind).
    /// From now on this worker counts as listening. Node: `socket.bind`.
    ///
    /// # Errors
    /// If `addr` can't be resolved, or none of its addresses be bound: the last one's error.
    ///
    /// # Panics
    /// In the primary.
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        UdpSocket::options().bind(addr).await
    }

    /// To bind it in another way than as usual.
    pub fn options() -> ListenOptions<UdpSocket> {
        ListenOptions::new()
    }

    pub(super) async fn bind_with<A: ToSocketAddrs>(addr: A, options: &Options) -> io::Result<UdpSocket> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any address");
        for address in tokio::net::lookup_host(addr).await? {
            match worker::ask_for_datagrams(Address::Udp(address), options).await {
                Ok(datagrams) => return UdpSocket::of(datagrams),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// As [`TcpListener::inherited`](super::TcpListener::inherited).
    ///
    /// # Errors
    /// As there.
    pub async fn inherited(number: RawFd) -> io::Result<UdpSocket> {
        UdpSocket::of(worker::ask_for_inherited_datagrams(number).await?)
    }

    /// As [`TcpListener::activated`](super::TcpListener::activated).
    ///
    /// # Errors
    /// As there.
    pub async fn activated(name: &str) -> io::Result<UdpSocket> {
        UdpSocket::of(worker::ask_for_activated_datagrams(name).await?)
    }

    fn of((socket, listener): Datagrams) -> io::Result<UdpSocket> {
        worker::serve();
        let socket = tokio::net::UdpSocket::from_std(std::net::UdpSocket::from(socket))?;
        Ok(UdpSocket { socket, _listener: listener })
    }
}

impl Deref for UdpSocket {
    type Target = tokio::net::UdpSocket;

    fn deref(&self) -> &tokio::net::UdpSocket {
        &self.socket
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
