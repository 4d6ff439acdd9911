//! Serves the judge's routes in a cluster.

use cluster_tests::{announce, judged};

#[cluster::main(primary = announce::life)]
async fn main() -> std::io::Result<()> {
    judged::serve(env!("CARGO_BIN_NAME")).await
}
