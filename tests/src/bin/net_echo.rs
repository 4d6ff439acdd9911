//! Echoes what comes on the addresses of TEST_BIND, with sockets of `cluster::net` and an accept loop that nothing ends.

use cluster::net::{TcpListener, UnixListener};
use cluster_tests::{announce, echo};

#[cluster::main(primary = announce::life, runtime = "current_thread")]
async fn main() -> std::io::Result<()> {
    let mut tasks = Vec::new();
    for address in std::env::var("TEST_BIND").as_deref().unwrap_or("127.0.0.1:0").split(' ') {
        tasks.push(match address.strip_prefix("unix:") {
            Some(path) => tokio::spawn(echo::unix(UnixListener::bind(path).await?)),
            None => tokio::spawn(echo::tcp(TcpListener::bind(address).await?)),
        });
    }
    for task in tasks {
        task.await?;
    }
    Ok(())
}
