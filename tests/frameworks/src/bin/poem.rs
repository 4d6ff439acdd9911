//! poem on TEST_BIND, TCP or Unix.

use cluster::net::{TcpListener, UnixListener};
use cluster_framework_tests::{address, end};
use cluster_tests::announce;
use cluster_tests::serve::me;
use poem::web::RemoteAddr;
use poem::{Route, Server, get, handler, post};

#[handler]
fn who() -> String {
    me()
}

#[handler]
fn client(remote: &RemoteAddr) -> String {
    format!("{} client {}", me(), remote.as_socket_addr().map_or(0, |address| address.port()))
}

#[handler]
fn echo(body: String) -> String {
    format!("{} body {body}", me())
}

#[cluster::main(primary = announce::life, runtime = "current_thread")]
async fn main() -> std::io::Result<()> {
    let app = Route::new().at("/", get(who)).at("/client", get(client)).at("/echo", post(echo));
    if let Some(path) = address().strip_prefix("unix:") {
        let server = Server::new(UnixListener::bind(path).await?);
        return server.run_with_graceful_shutdown(app, end(), None).await;
    }
    Server::new(TcpListener::bind(address()).await?).run_with_graceful_shutdown(app, end(), None).await
}
