//! Echoes with `incoming()`, on TEST_BIND; `main` returns when it ends and all that was begun is finished.

use std::future::poll_fn;
use std::pin::pin;

use cluster::net::TcpListener;
use cluster_tests::{announce, echo};
use futures_core::Stream;
use tokio::task::JoinSet;

#[cluster::main(primary = announce::life, runtime = "multi_thread", threads = 2)]
async fn main() -> std::io::Result<()> {
    let address = std::env::var("TEST_BIND").unwrap_or("127.0.0.1:0".to_owned());
    let mut incoming = pin!(TcpListener::bind(address).await?.into_incoming());
    let mut connections = JoinSet::new();
    while let Some(stream) = poll_fn(|cx| incoming.as_mut().poll_next(cx)).await {
        connections.spawn(echo::echo(stream?));
    }
    println!("incoming {} ended", cluster::worker().id());
    connections.join_all().await;
    println!("finished {}", cluster::worker().id());
    Ok(())
}
