//! Each worker says what it was given. TEST_FORK: what the primary forks beside. TEST_PRELOAD: through a nursery.

use std::env::{args, var};

use cluster::{Cluster, Fork, Primary, Role, Workers};
use cluster_tests::announce;

fn setup(primary: &mut Primary) {
    announce::life(primary);
    let own = || Fork::new().env("TEST_OWN", "a b=$HOME\n").env_remove("TEST_ALL").cwd("/proc");
    let forks = match var("TEST_FORK").as_deref() {
        Ok("own") => vec![own()],
        Ok("args") => vec![own().args(["$HOME", "*; exit 3", "", "'\""])],
        Ok("large") => vec![own().env("TEST_OWN", "x".repeat(80_000))],
        Ok("gone") => vec![Fork::new().cwd(var("TEST_CWD").unwrap_or_default())],
        Ok("bad") => {
            vec![own().env("A\0", ""), own().args(["\0"]), own().cwd("/nowhere"), own().env("=", "")]
        }
        _ => vec![],
    };
    for why in forks.into_iter().filter_map(|fork| cluster::fork_with(fork).err()) {
        println!("refused {why}");
    }
}

fn body() {
    let (worker, own) = (cluster::worker(), var("TEST_OWN").unwrap_or_default());
    println!("args {} {:?}", worker.id(), args().skip(1).collect::<Vec<_>>());
    let all = var("TEST_ALL").ok();
    println!("env {} {:.12} {} {all:?}", worker.id(), own.escape_debug().to_string(), own.len());
    worker.ready();
    println!("ready {}", worker.id());
    while worker.messages::<String>().blocking_recv().is_some() {}
}

fn main() {
    let cluster = Cluster::new().workers(Workers::Count(1)).primary(setup);
    let cluster = if var("TEST_PRELOAD").is_ok() { cluster.preload(|| ()) } else { cluster };
    match cluster.start() {
        Role::Primary(end) => end.exit(),
        Role::Worker(worker) => worker.run(body),
    }
}
