//! tonic over the sockets of [`cluster::net`](crate::net) (feature `tonic`).
//!
//! ```ignore
//! use cluster::net::TcpListener;
//! use greeter::greeter_server::GreeterServer; // written by tonic-prost-build
//! use tonic::transport::Server;
//!
//! #[cluster::main] // was: #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let incoming = TcpListener::bind("127.0.0.1:8000").await?.into_incoming();
//!     Server::builder()
//!         .add_service(GreeterServer::new(Greeter))
//!         .serve_with_incoming_shutdown(incoming, cluster::shutdown_signal()) // was: .serve("127.0.0.1:8000".parse()?)
//!         .await?;
//!     Ok(())
//! }
//! ```
//!
//! The example `tonic` is this in full, with a client.
//!
//! A client keeps its one connection: it is the worker's that got it for all of its calls. At the end clients are told
//! by GOAWAY and calls in progress run to their own end, streams included, or to the cluster's
//! [`drain_timeout`](crate::Cluster::drain_timeout). `serve_with_incoming`, without a signal, would return while they run,
//! and cut them off.
//!
//! `Request::remote_addr` and `local_addr` work as with tonic's own sockets; a request that came over a
//! [`UnixStream`] has a `UdsConnectInfo` among its extensions. tonic sets TCP_NODELAY on its own sockets only: here set
//! it by `StreamExt::map` where a call's messages are many and small.

use tonic::transport::server::{Connected, TcpConnectInfo, UdsConnectInfo};

use crate::net::{TcpStream, UnixStream};

impl Connected for TcpStream {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        TcpConnectInfo { local_addr: self.local_addr().ok(), remote_addr: self.peer_addr().ok() }
    }
}

impl Connected for UnixStream {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        (**self).connect_info()
    }
}
