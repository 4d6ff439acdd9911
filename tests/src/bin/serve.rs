//! Serves all routes, announces all events: the fixture of most tests.

use cluster_tests::{announce, serve};

#[cluster::main(primary = announce::life)]
async fn main() -> std::io::Result<()> {
    serve::all().await
}
