//! Echoes until `shutdown_signal()`, on TEST_BIND.

use cluster::net::TcpListener;
use cluster_tests::{announce, echo};

#[cluster::main(primary = announce::life, runtime = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::var("TEST_BIND").unwrap_or("127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    let serving = tokio::spawn(echo::tcp(listener));
    cluster::shutdown_signal().await;
    println!("signalled {}", cluster::worker().id());
    serving.abort();
    Ok(())
}
