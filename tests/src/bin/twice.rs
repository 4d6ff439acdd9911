//! Two clusters, one after the other, in one process.

use cluster::{Cluster, Role};
use cluster_tests::{announce, serve};

fn main() {
    for round in 1..=2 {
        println!("round {round}");
        match Cluster::new().primary(announce::life).start() {
            Role::Primary(end) if round == 2 || end.code() != 0 => end.exit(),
            Role::Primary(_) => {}
            Role::Worker(worker) => return worker.block_on(serve::all()).expect("serve"),
        }
    }
}
