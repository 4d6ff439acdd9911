//! Says what is dropped when a body has returned, and after the cluster has ended.

use cluster::{Cluster, Role, Workers};
use cluster_tests::{announce, serve};

struct Guard(String);

impl Drop for Guard {
    fn drop(&mut self) {
        println!("dropped in {}", self.0);
    }
}

fn main() {
    match Cluster::new().workers(Workers::Count(2)).primary(announce::life).start() {
        Role::Primary(end) => {
            drop(Guard("the primary".to_owned()));
            end.exit()
        }
        Role::Worker(worker) => {
            let _guard = Guard(format!("worker {}", worker.id()));
            worker.block_on(serve::all()).expect("serve");
        }
    }
}
