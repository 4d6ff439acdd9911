//! poem in the workers of a cluster.
//!
//! Run: `cargo run --release --example poem`
//! Try: `curl 127.0.0.1:8000/Ann` a few times; `kill -9` a worker; Ctrl-C.

use cluster::net::TcpListener;
use poem::web::{Path, RemoteAddr};
use poem::{Route, Server, get, handler};

#[handler]
fn hello(Path(name): Path<String>, client: &RemoteAddr) -> String {
    format!("Hello {name} at {client} from worker {}\n", cluster::worker().id())
}

#[cluster::main] // was: #[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = Route::new().at("/:name", get(hello));
    // Was: poem::listener::TcpListener, and no await.
    let listener = TcpListener::bind("127.0.0.1:8000").await?;
    Server::new(listener).run_with_graceful_shutdown(app, cluster::shutdown_signal(), None).await
}
