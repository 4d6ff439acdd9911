//! What clients see of an upgrade: nothing.

use cluster_tests::load::Load;
use cluster_tests::{Cluster, Signal};

/// Upgrades again and again under load: all are answered, and all generations have answered.
fn upgrades_under_load(mut cluster: Cluster, upgrades: u64) {
    let address = cluster.up(2);
    let load = Load::mixed(&address, 3, 3);
    load.served(100);
    for generation in 2..2 + upgrades {
        cluster.signal(Signal::USR2);
        cluster.said(&format!("upgrade {generation} ok"));
        load.served(100);
    }
    cluster.up(2);
    let tally = load.stop();
    cluster.check(tally.harmed() + tally.refused == 0, &format!("nothing lost: {tally:?}"));
    let generations: Vec<u64> = tally.by_generation.keys().copied().collect();
    cluster.check(generations == (1..2 + upgrades).collect::<Vec<_>>(), &format!("all to serve: {tally:?}"));
    let story = cluster.stop();
    let well =
        story.exits().filter(|exit| exit.code == Some(0) && exit.voluntary && exit.reason == "Replaced");
    assert_eq!(well.count(), 2 * upgrades as usize, "{story}");
}

/// Mutation: leave the listening sockets CLOEXEC.
#[test]
fn p82_upgrades_under_load_lose_nothing_over_tcp() {
    upgrades_under_load(Cluster::start("serve", 2), 5);
}
