//! poem over the sockets of [`cluster::net`](crate::net) (feature `poem`).
//!
#![cfg_attr(feature = "macros", doc = "```no_run")]
#![cfg_attr(not(feature = "macros"), doc = "```ignore")]
//! use cluster::net::TcpListener;
//! use poem::{Route, Server, endpoint::make_sync, get};
//!
//! #[cluster::main] // was: #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let app = Route::new().at("/", get(make_sync(|_| format!("worker {}\n", cluster::worker().id()))));
//!     let listener = TcpListener::bind("127.0.0.1:8000").await?; // was: poem::listener::TcpListener::bind
//!     Server::new(listener).run_with_graceful_shutdown(app, cluster::shutdown_signal(), None).await
//! }
//! ```
//!
//! [`shutdown_signal`](crate::shutdown_signal) comes when all that was handed to this worker has been accepted; of any
//! other signal poem makes an end at once, and what was not accepted yet would be lost. The time that poem may be given as
//! well counts from there; the cluster's [`drain_timeout`](crate::Cluster::drain_timeout) holds in any case.
//!
//! Both listeners are poem's `Listener` and its `Acceptor` in one: `combine`, `rustls` and the others work on them.
//! TCP connections have their addresses in `LocalAddr` and `RemoteAddr`.

use std::io;

use poem::Addr;
use poem::http::uri::Scheme;
use poem::listener::{Acceptor, Listener};
use poem::web::{LocalAddr, RemoteAddr};

use crate::net::{TcpListener, TcpStream, UnixListener, UnixStream, rest};

impl Listener for TcpListener {
    type Acceptor = TcpListener;

    async fn into_acceptor(self) -> io::Result<TcpListener> {
        Ok(self)
    }
}

impl Acceptor for TcpListener {
    type Io = TcpStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        TcpListener::local_addr(self).into_iter().map(|address| LocalAddr(address.into())).collect()
    }

    async fn accept(&mut self) -> io::Result<(TcpStream, LocalAddr, RemoteAddr, Scheme)> {
        loop {
            // poem would try again at once, and again.
            match TcpListener::accept(self).await {
                Ok((stream, peer)) => {
                    let local = LocalAddr(stream.local_addr()?.into());
                    return Ok((stream, local, RemoteAddr(peer.into()), Scheme::HTTP));
                }
                Err(error) => rest(error).await,
            }
        }
    }
}

impl Listener for UnixListener {
    type Acceptor = UnixListener;

    async fn into_acceptor(self) -> io::Result<UnixListener> {
        Ok(self)
    }
}

impl Acceptor for UnixListener {
    type Io = UnixStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        UnixListener::local_addr(self).into_iter().map(|address| LocalAddr(address.into())).collect()
    }

    async fn accept(&mut self) -> io::Result<(UnixStream, LocalAddr, RemoteAddr, Scheme)> {
        loop {
            match UnixListener::accept(self).await {
                Ok((stream, peer)) => {
                    let local = LocalAddr(Addr::unix(UnixListener::local_addr(self)?));
                    return Ok((stream, local, RemoteAddr(peer.into()), Scheme::HTTP));
                }
                Err(error) => rest(error).await,
            }
        }
    }
}
