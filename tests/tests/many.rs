//! Many workers, and many connections that stay.

use std::collections::BTreeMap;

use cluster_tests::control::{Client, meet};
use cluster_tests::{Cluster, Signal, process};

/// Everybody has as many, but for the few that came when some worker had waited for a processor so long that it was passed over;
/// the primary has nothing of any of them, and they all work.
///
/// Mutation: keep a record of each connection in the primary; keep its copy of each; begin with the first worker again after
/// each burst.
#[test]
fn g5_of_four_thousand_that_stay_each_of_sixteen_workers_has_its_share_and_the_primary_nothing() {
    const WORKERS: usize = 16;
    // A client is one descriptor here; the harness has some, and other tests.
    let share = usize::try_from(process::raise_descriptors()).unwrap_or(usize::MAX) / 2 / WORKERS;
    let share = share.min(250);
    let mut cluster = Cluster::start("net_echo", WORKERS);
    let address = cluster.up(WORKERS);
    let mut clients: Vec<_> = (0..WORKERS).map(|_| Client::to(&address)).collect();
    let primary = cluster.pid();
    let (memory, open) = (process::own_memory(primary), process::descriptors(primary).len());
    clients.extend((0..(share - 1) * WORKERS).map(|_| Client::to(&address)));
    let more = process::own_memory(primary).saturating_sub(memory);
    cluster.check(more <= 64 * 1024, &format!("no memory for connections, not {more} bytes"));
    // Of the first ones it may have had a copy still, when it was looked: its worker can be faster than its close.
    cluster.eventually("no descriptors", || process::descriptors(primary).len() <= open);
    let mut by_worker = BTreeMap::<u64, usize>::new();
    for client in &mut clients {
        *by_worker.entry(client.worker).or_default() += 1;
        client.echoes("still here");
    }
    // The turns of who was kept from its processor for a while are the others', of each in turn: those have as many as one another.
    // By chance a quarter of them would.
    let mut counts: Vec<usize> = by_worker.values().copied().collect();
    counts.sort_unstable();
    let as_many = |count: &&usize| count.abs_diff(counts[counts.len() / 2]) <= (share / 50).max(1);
    let even = counts.len() == WORKERS && counts.iter().filter(as_many).count() >= WORKERS / 2;
    cluster.check(even, &format!("{share} for each: {by_worker:?}"));
    cluster.signal(Signal::TERM);
    cluster.logged("SIGTERM: stopping");
    clients.into_iter().for_each(Client::end);
    let story = cluster.ends(0);
    assert_eq!(
        story.exits().filter(|exit| exit.code == Some(0) && exit.voluntary).count(),
        WORKERS,
        "{story}"
    );
}

/// Each has its events, each slot its successor, and nothing is left of any of them.
///
/// Mutation: forget one of those that come or go in one turn; let a slot be taken by two.
#[test]
fn sixty_four_workers_come_at_once_die_at_once_are_replaced_and_go() {
    const WORKERS: usize = 64;
    process::raise_descriptors();
    let mut cluster = Cluster::of("net_echo").workers(WORKERS).env("CLUSTER_MAX_SURGE", 8).start();
    cluster.up(WORKERS);
    cluster.expect_log("SIGKILL");
    let open = process::descriptors(cluster.pid()).len();
    for id in 1..=64 {
        cluster.signal_worker(id, Signal::KILL);
    }
    for id in 1..=64 {
        cluster.exit(id);
    }
    cluster.up(WORKERS);
    cluster.signal(Signal::HUP);
    cluster.logged("reload: ");
    cluster.until("the second generation", |story| {
        let new = story.forks().filter(|fork| fork.generation == 2).count();
        (new == WORKERS && story.exits().count() == 2 * WORKERS).then_some(())
    });
    let address = cluster.up(WORKERS);
    // Each has its turn, though one that is kept from its processor, where all have just come up, has a later one.
    let third: Vec<u64> = (129..=192).collect();
    meet(&address, WORKERS, &third).into_iter().for_each(Client::end);
    let primary = cluster.pid();
    cluster.eventually("no more descriptors", || process::descriptors(primary).len() <= open);
    cluster.stop();
}
