//! Serves; but workers past the first TEST_WORKERS wait for a message first: `go`, or a status to end with.

use std::{env, process};

use cluster_tests::{announce, serve};

#[cluster::main(primary = announce::life)]
async fn main() -> std::io::Result<()> {
    let first = env::var("TEST_WORKERS").ok().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX);
    let worker = cluster::worker();
    if worker.id() > first {
        let mut messages = worker.messages::<String>();
        println!("worker {} waits", worker.id());
        let word = messages.recv().await.unwrap_or_default();
        if let Ok(status) = word.parse() {
            process::exit(status);
        }
    }
    serve::all().await
}
