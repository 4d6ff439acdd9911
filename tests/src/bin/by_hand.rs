//! The builder without the macro, with a callback for each event: `serve`, written out.

use cluster::{Cluster, Role, Workers};
use cluster_tests::{announce, serve};

fn settings(whose: &str) {
    let settings = cluster::settings();
    println!("{whose} has {} workers and {:?}", settings.workers(), settings.drain_timeout());
}

fn main() {
    let cluster = Cluster::new()
        .workers(Workers::Count(2))
        .on_fork(announce::fork)
        .on_online(announce::online)
        .on_listening(announce::listening)
        .on_message(announce::message)
        .on_disconnect(announce::disconnect)
        .on_exit(announce::exit);
    match cluster.start() {
        Role::Primary(end) => {
            println!("end {}", end.code());
            settings("the primary");
            end.exit()
        }
        Role::Worker(worker) => {
            settings("a worker");
            worker.block_on(serve::all()).expect("serve");
        }
    }
}
