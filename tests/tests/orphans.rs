//! When the primary is gone, however it went, its workers go too.

use std::time::Duration;

use cluster_tests::client::{Connection, ask};
use cluster_tests::{Cluster, Signal};

/// An orphan has a second for what is under way, and this machine may stand still for some; a drain has half a minute.
const SOON: Duration = Duration::from_secs(10);

/// The port is free at once: the same program starts on it again.
fn starts_again(address: &str) {
    let mut cluster = Cluster::of("serve").workers(2).bind(address).start();
    assert_eq!(cluster.up(2), address);
    assert_eq!(ask(address, "/").status, 200);
    cluster.stop();
}

/// Mutation: neither PDEATHSIG nor the channel's end is acted upon. The end of the lanes alone begins a drain, of
/// 30 s: the request that is never finished tells it from the orphan's second.
#[test]
fn n47_workers_follow_a_primary_that_exits() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let mut held = Connection::to(&address);
    held.begin();
    ask(&address, "/exit-primary/3");
    assert_eq!(cluster.orphaned(SOON), [0, 0]);
}

/// Mutation: as for N47.
#[test]
fn n46_workers_follow_a_primary_that_fails() {
    for (path, status) in [("/exit-primary/1", 1), ("/abort-primary", -6)] {
        let mut cluster = Cluster::start("serve", 2);
        let address = cluster.up(2);
        let mut held = Connection::to(&address);
        held.begin();
        ask(&address, path);
        assert_eq!(cluster.orphaned_by(Some(status), SOON), [0, 0]);
    }
}

/// Mutation: as for N47.
#[test]
fn p25_killed_while_serving() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let mut idle = Connection::to(&address);
    idle.ask("/");
    let mut held = Connection::to(&address);
    held.begin();
    let mut never_finished = Connection::to(&address);
    never_finished.begin();
    cluster.signal(Signal::KILL);
    // What is under way may still end, within a second.
    let _ = held.finish().reply();
    assert_eq!(cluster.orphaned(SOON), [0, 0]);
    starts_again(&address);
}

/// Mutation: watch for the primary's end only once the worker serves.
#[test]
fn p25_killed_while_starting() {
    let mut cluster = Cluster::of("idle").workers(2).env("TEST_SILENT", 1).start();
    cluster.said("body 1");
    cluster.said("body 2");
    cluster.signal(Signal::KILL);
    cluster.orphaned(SOON);
}

/// Mutation: give an orphan the drain timeout (30 s) instead of its second.
#[test]
fn p25_killed_while_draining() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let mut held = Connection::to(&address);
    held.begin();
    cluster.signal(Signal::TERM);
    cluster.until("the worker that has nothing to do to end", |story| story.exits().next().cloned());
    cluster.signal(Signal::KILL);
    assert_eq!(cluster.orphaned(SOON), [0]);
    assert!(held.is_closed_within(SOON));
    starts_again(&address);
}

/// Mutation: the nursery does not notice.
#[test]
fn p25_killed_with_a_nursery() {
    let mut cluster = Cluster::of("preload").workers(2).start();
    let address = cluster.up(2);
    assert_eq!(ask(&address, "/").status, 200);
    cluster.signal(Signal::KILL);
    assert_eq!(cluster.orphaned(SOON), [0, 0]);
    starts_again(&address);
}

/// Mutation: rely on PDEATHSIG; ignore the channel's end. The request is held for the same reason as in N47.
#[test]
fn p26_the_channel_alone_is_enough() {
    let mut cluster = Cluster::of("no_pdeathsig").workers(2).start();
    let address = cluster.up(2);
    cluster.said("pdeathsig was Some(15)");
    let mut held = Connection::to(&address);
    held.begin();
    cluster.signal(Signal::KILL);
    assert_eq!(cluster.orphaned(SOON), [0, 0]);
}
