//! A worker that starts this program once more, as `parent plain`, and says what that said.

use std::env::{args, current_exe};
use std::process::Command;

use cluster::{Cluster, Role, Workers};
use cluster_tests::announce;

fn body() {
    let path = current_exe().expect("the path of this program");
    let said = Command::new(path).arg("plain").output().expect("start it").stdout;
    println!("child {}", String::from_utf8_lossy(&said).trim());
    cluster::worker().ready();
    while cluster::worker().messages::<String>().blocking_recv().is_some() {}
}

fn main() {
    if args().nth(1).as_deref() == Some("plain") {
        println!("primary {} worker {}", cluster::is_primary(), cluster::is_worker());
        return;
    }
    match Cluster::new().workers(Workers::Count(1)).primary(announce::life).start() {
        Role::Primary(end) => end.exit(),
        Role::Worker(worker) => worker.run(body),
    }
}
