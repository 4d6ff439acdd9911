//! axum in the workers of a cluster; handlers, middleware and extractors are as ever.
//!
//! Run: `cargo run --release --example axum`
//! Try: `curl 127.0.0.1:8000` a few times; `kill -9` a worker; Ctrl-C.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::serve::ListenerExt;
use cluster::net::TcpListener;

async fn hello(ConnectInfo(client): ConnectInfo<SocketAddr>) -> String {
    format!("Hello {client} from worker {} (pid {})\n", cluster::worker().id(), std::process::id())
}

#[cluster::main] // was: #[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = Router::new().route("/", get(hello)).into_make_service_with_connect_info::<SocketAddr>();
    // Was: tokio::net::TcpListener. ConnectInfo needs `tap_io`, the rest does not.
    let listener = TcpListener::bind("127.0.0.1:8000").await?.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, app).with_graceful_shutdown(cluster::shutdown_signal()).await
}
