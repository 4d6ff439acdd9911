//! Binds and drops sockets of `cluster::net` as the test says.

use cluster_tests::{announce, sockets};

#[cluster::main(primary = announce::life, runtime = "current_thread")]
async fn main() -> std::io::Result<()> {
    cluster::worker().ready();
    sockets::obey().await
}
