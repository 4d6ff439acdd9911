//! Connections find their workers as the file TEST_HOW says, by the name of a policy; after an upgrade, as it says then.

use cluster::{Cluster, Policy, Role};
use cluster_tests::{announce, serve, upgrades};

fn main() {
    let policy = match upgrades::how().0.as_str() {
        "shared" => Policy::Shared,
        "reuseport" => Policy::ReusePort,
        _ => Policy::RoundRobin,
    };
    match Cluster::new().policy(policy).primary(announce::life).start() {
        Role::Primary(end) => end.exit(),
        Role::Worker(worker) => worker.block_on(serve::all()).expect("serve"),
    }
}
