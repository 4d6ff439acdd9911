//! `serve`, in a program that starts a thread before its cluster; with a preload if TEST_PRELOAD is `preload`.

use cluster::{Cluster, Role};
use cluster_tests::{announce, serve};

fn main() {
    let ours = cluster::is_primary();
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    let mut cluster = Cluster::new().primary(announce::life);
    if std::env::var("TEST_PRELOAD").is_ok_and(|preload| preload == "preload") {
        cluster = cluster.preload(|| println!("preload in {}", std::process::id()));
    }
    match cluster.start() {
        Role::Primary(end) => {
            assert!(ours, "before the start it was none");
            end.exit()
        }
        Role::Worker(worker) => {
            assert!(!ours, "before the start it was no worker");
            worker.block_on(serve::all()).expect("serve");
        }
    }
}
