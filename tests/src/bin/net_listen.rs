//! `net_control`, in a cluster that listens on the addresses of TEST_BIND only.

use cluster::{Cluster, Role};
use cluster_tests::{announce, sockets};

fn main() {
    let addresses = std::env::var("TEST_BIND").unwrap_or_default();
    match Cluster::new().primary(announce::life).listen(addresses.split(' ')).start() {
        Role::Primary(end) => end.exit(),
        Role::Worker(worker) => {
            worker.ready();
            worker.block_on(sockets::obey()).expect("obey");
        }
    }
}
