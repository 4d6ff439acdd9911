//! axum over the sockets of [`cluster::net`](crate::net) (feature `axum`).
//!
#![cfg_attr(feature = "macros", doc = "```no_run")]
#![cfg_attr(not(feature = "macros"), doc = "```ignore")]
//! use axum::{Router, routing::get};
//! use cluster::net::TcpListener;
//!
//! #[cluster::main] // was: #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let app = Router::new().route("/", get(async || format!("worker {}\n", cluster::worker().id())));
//!     let listener = TcpListener::bind("127.0.0.1:8000").await?; // was: tokio::net::TcpListener
//!     axum::serve(listener, app).with_graceful_shutdown(cluster::shutdown_signal()).await
//! }
//! ```
//!
//! Without `with_graceful_shutdown` nobody tells clients that a worker leaves: it ends when the last of them has closed its
//! connection, or at the cluster's [`drain_timeout`](crate::Cluster::drain_timeout). No other signal than
//! [`shutdown_signal`](crate::shutdown_signal) will do: axum stops accepting at once when it comes, and what was handed to
//! this worker and not accepted yet would be lost.
//!
//! axum does not wait for what is no longer HTTP: a program with WebSockets waits for them itself after `axum::serve`, as the
//! example `chat` does.
//!
//! # Who connects
//!
//! axum knows `ConnectInfo<SocketAddr>` of its own listeners, and of whatever has gone through its `tap_io`:
//!
//! ```no_run
//! use axum::extract::ConnectInfo;
//! use axum::serve::ListenerExt;
//! use axum::{Router, routing::get};
//! use cluster::net::TcpListener;
//! use std::net::SocketAddr;
//!
//! async fn hello(ConnectInfo(client): ConnectInfo<SocketAddr>) -> String {
//!     format!("hello {client}\n")
//! }
//!
//! # async fn body() -> std::io::Result<()> {
//! let app = Router::new().route("/", get(hello)).into_make_service_with_connect_info::<SocketAddr>();
//! let listener = TcpListener::bind("127.0.0.1:8000").await?.tap_io(|_| {}); // or: set_nodelay, for one
//! axum::serve(listener, app).with_graceful_shutdown(cluster::shutdown_signal()).await
//! # }
//! ```
//!
//! With a [`UnixListener`], an `axum::extract::connect_info::Connected` of the program's own, as in axum's example.

use std::io;
use std::net::SocketAddr;

use axum::serve::Listener;

use crate::net::{TcpListener, TcpStream, UnixListener, UnixStream, rest};

impl Listener for TcpListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match TcpListener::accept(self).await {
                Ok(accepted) => return accepted,
                Err(error) => rest(error).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}

impl Listener for UnixListener {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (UnixStream, tokio::net::unix::SocketAddr) {
        loop {
            match UnixListener::accept(self).await {
                Ok(accepted) => return accepted,
                Err(error) => rest(error).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<tokio::net::unix::SocketAddr> {
        UnixListener::local_addr(self)
    }
}
