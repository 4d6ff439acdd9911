//! The program that an upgrade meets: what the file TEST_HOW says, and else as `serve`.

use cluster::{Cluster, Role, Signal};
use cluster_tests::{announce, serve, upgrades};

fn main() {
    let (word, rest) = upgrades::how();
    upgrades::begin(&word, &rest);
    let mut cluster = Cluster::new().listen(upgrades::addresses(&word, &rest));
    if word == "user" {
        cluster = cluster.user("nobody of this name");
    }
    if word == "workers" {
        cluster = cluster.workers(cluster::Workers::Count(rest.parse().expect("a number")));
    }
    let callback = word.clone();
    let cluster = cluster.primary(move |primary| {
        announce::life(primary);
        primary.on_signal(Signal::USR1, || {});
        primary.on_signal(Signal::WINCH, || {});
        let workers: Vec<_> = cluster::workers().iter().map(|worker| (worker.id(), worker.state())).collect();
        println!("workers {workers:?}");
        assert!(callback != "callback", "a bug in the new callback");
        upgrades::never_come_back(&callback);
    });
    match cluster.start() {
        Role::Primary(end) => end.exit(),
        Role::Worker(_) if word == "unready" => std::process::exit(7),
        Role::Worker(worker) => worker.block_on(serve::all()).expect("serve"),
    }
}
