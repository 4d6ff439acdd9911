//! The next release of `judged`: another program, which serves the same.

use cluster_tests::{announce, judged};

#[cluster::main(primary = announce::life)]
async fn main() -> std::io::Result<()> {
    judged::serve(env!("CARGO_BIN_NAME")).await
}
