//! Sockets for any server: shaped like tokio's, listening through the primary.
//!
//! ```no_run
//! use cluster::net::TcpListener;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # async fn body() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:8000").await?; // was: tokio::net::TcpListener
//! loop {
//!     let (mut stream, _) = listener.accept().await?;
//!     tokio::spawn(async move {
//!         let mut buffer = [0; 1024];
//!         while let Ok(read @ 1..) = stream.read(&mut buffer).await {
//!             if stream.write_all(&buffer[..read]).await.is_err() {
//!                 return;
//!             }
//!         }
//!     });
//! }
//! # }
//! ```
//!
//! All workers that bind an address share one socket, which the primary binds for the first of them. It accepts, and gives
//! each connection to one worker, in turn. Without a cluster, and unclustered, these sockets bind and accept by
//! themselves, as tokio's do.
//!
//! # The end
//!
//! When a worker is told to leave, no further connection comes to it. [`Incoming`] ends; `accept` pends for ever, since
//! the loops of servers take an error for one to be tried again. [`shutdown_signal`](crate::shutdown_signal) resolves when
//! everything that was handed over has been accepted: that is the moment to tell a server that it is to finish. Both wait
//! a quarter of a second at most for connections from which nothing was read yet: servers close those. A program that asks for neither is ended when its last connection is closed.

mod accept;
mod options;
mod stream;
mod tcp;
mod udp;
mod unix;

pub use self::accept::Incoming;
pub use self::options::ListenOptions;
pub use self::stream::{TcpStream, UnixStream};
pub use self::tcp::TcpListener;
pub use self::udp::UdpSocket;
pub use self::unix::UnixListener;

/// After an error of `accept`, for servers that take none: says so, and waits before the next attempt.
#[cfg(any(feature = "axum", feature = "poem"))]
pub(crate) async fn rest(error: std::io::Error) {
    crate::report::error(format_args!("accepting: {error}; trying again in a second"));
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
}
