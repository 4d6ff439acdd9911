//! axum on TEST_BIND, TCP or Unix: HTTP, who connects, a WebSocket.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::routing::{any, get, post};
use axum::serve::ListenerExt;
use cluster::net::{TcpListener, UnixListener};
use cluster_framework_tests::{address, end};
use cluster_tests::announce;
use cluster_tests::serve::me;
use tokio::sync::mpsc::{Sender, channel};

async fn client(ConnectInfo(client): ConnectInfo<SocketAddr>) -> String {
    format!("{} client {}", me(), client.port())
}

/// `_open` tells `main` that this one goes on: axum does not wait for what is no longer HTTP.
async fn echo(mut socket: WebSocket, _open: Sender<()>) {
    // The client may go at any time.
    while let Some(Ok(message)) = socket.recv().await {
        let _ = socket.send(message).await;
    }
}

#[cluster::main(primary = announce::life, runtime = "multi_thread", threads = 2)]
async fn main() -> std::io::Result<()> {
    let (open, mut closed) = channel(1);
    let socket = async |upgrade: WebSocketUpgrade, open| upgrade.on_upgrade(|socket| echo(socket, open));
    let app = Router::new()
        .route("/", get(async || me()))
        .route("/client", get(client))
        .route("/echo", post(async |body: String| format!("{} body {body}", me())))
        .route("/socket", any(move |upgrade| socket(upgrade, open.clone())));
    if let Some(path) = address().strip_prefix("unix:") {
        return axum::serve(UnixListener::bind(path).await?, app).with_graceful_shutdown(end()).await;
    }
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind(address()).await?.tap_io(|_| {});
    axum::serve(listener, app).with_graceful_shutdown(end()).await?;
    closed.recv().await;
    Ok(())
}
