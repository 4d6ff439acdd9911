//! Workers that listen to nothing. The first of them hangs where TEST_HANG says: `in` its runtime, or `after` it.

use cluster::{Cluster, Role, Runtime, ThisWorker};
use cluster_tests::announce;

fn hang(worker: ThisWorker) {
    println!("hanging {}", worker.id());
    loop {
        std::thread::park();
    }
}

fn main() {
    let after = std::env::var("TEST_HANG").is_ok_and(|place| place == "after");
    match Cluster::new().primary(announce::life).runtime(Runtime::CurrentThread).start() {
        Role::Primary(end) => end.exit(),
        Role::Worker(worker) => {
            worker.ready();
            let first = worker.id() == 1;
            worker.block_on(async {
                if !first {
                    cluster::shutdown_signal().await;
                } else if !after {
                    hang(worker);
                }
            });
            if first {
                hang(worker);
            }
        }
    }
}
