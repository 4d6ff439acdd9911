//! Reloads with a preload: a nursery for each generation.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use cluster_tests::client::ask;
use cluster_tests::load::Load;
use cluster_tests::{Cluster, Event, Signal, forks, process};

use super::failure;

/// A file that says what preload does; removed with it.
struct Order(PathBuf);

impl Order {
    fn new(test: &str) -> Self {
        Self(std::env::temp_dir().join(format!("cluster-preload-{test}-{}", std::process::id())))
    }

    fn give(&self, order: &str) {
        fs::write(&self.0, order).expect("write an order");
    }

    fn take_back(&self) {
        fs::remove_file(&self.0).expect("take an order back");
    }

    fn cluster(&self, startup_timeout: &str) -> Cluster {
        let mut cluster = Cluster::of("preload")
            .workers(2)
            .env("TEST_HOW", self.0.display())
            .env("CLUSTER_STARTUP_TIMEOUT", startup_timeout)
            .start();
        cluster.up(2);
        cluster
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The nurseries that there were.
fn nurseries(cluster: &Cluster) -> Vec<u32> {
    let said = cluster.story().events().filter_map(|event| match event {
        Event::Said(line) => line.strip_prefix("preload in ")?.parse().ok(),
        _ => None,
    });
    said.collect()
}

/// Mutation: ask the old nursery for the new generation; keep it after the reload.
#[test]
fn p60_each_generation_has_a_preload_of_its_own_and_nobody_waits_for_it() {
    if !forks() {
        return;
    }
    let order = Order::new("each");
    let mut cluster = order.cluster("60s");
    let address = cluster.up(2);
    let load = Load::mixed(&address, 2, 2);
    for generation in 2..=4 {
        load.served(50);
        cluster.signal(Signal::HUP);
        cluster.said(&format!("reload {generation} ok"));
        cluster.up(2);
    }
    let tally = load.stop();
    cluster.check(tally.harmed() + tally.refused == 0, &format!("nothing lost: {tally:?}"));
    let nurseries = nurseries(&cluster);
    assert_eq!(nurseries.len(), 4);
    for old in &nurseries[..3] {
        assert!(process::exits_within(*old, Duration::from_secs(5)), "nursery {old} is left");
    }
    let newest = nurseries[3];
    assert!(!process::exits_within(newest, Duration::ZERO), "it is needed for births to come");
    cluster.expect_log("SIGKILL");
    let victim = cluster.story().listening()[0];
    cluster.signal_worker(victim, Signal::KILL);
    cluster.exit(victim);
    cluster.up(2);
    let generations = cluster.story().forks().last().map(|fork| fork.generation);
    assert_eq!(generations, Some(4));
    cluster.stop();
}

/// Mutation: give the old nursery up before the new one is known to be good; stop the cluster, as at its start.
#[test]
fn p79_a_preload_that_fails_the_second_time_leaves_the_old_nursery_and_its_workers() {
    if !forks() {
        return;
    }
    let order = Order::new("fails");
    let mut cluster = order.cluster("60s");
    let address = cluster.up(2);
    cluster.expect_log("the model is of another version");
    order.give("the model is of another version");
    cluster.signal(Signal::HUP);
    let why = failure(&mut cluster, 2);
    assert_eq!(why, "preload failed: the nursery exited with status 1: \"the model is of another version\"");
    order.take_back();
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.exit(1);
    cluster.up(2);
    let born = cluster.story().forks().last().cloned().expect("a birth");
    assert_eq!((born.slot, born.generation), (0, 1));
    assert_eq!(nurseries(&cluster).len(), 2, "the old nursery has done it");
    cluster.signal(Signal::HUP);
    cluster.said("reload 3 ok");
    assert_eq!(ask(&address, "/").number("generation"), Some(3));
    cluster.up(2);
    cluster.stop();
}

/// Mutation: wait for a preload without a deadline, or longer than for the nursery at the start.
#[test]
fn p78_a_preload_that_hangs_ends_the_reload() {
    if !forks() {
        return;
    }
    let order = Order::new("hangs");
    let mut cluster = order.cluster("4s");
    cluster.expect_log("was not done in time");
    order.give("hang");
    cluster.signal(Signal::HUP);
    assert!(failure(&mut cluster, 2).contains("was not done in time"));
    assert_eq!(cluster.story().listening().len(), 2);
    let hung = nurseries(&cluster)[1];
    assert!(process::exits_within(hung, Duration::from_secs(10)), "it is left");
    cluster.stop();
}

/// Mutation: take the death of a new nursery for that of an old one, and wait for the next.
#[test]
fn a_new_nursery_that_is_killed_ends_the_reload_and_an_old_one_is_replaced_as_ever() {
    if !forks() {
        return;
    }
    let order = Order::new("killed");
    let mut cluster = order.cluster("60s");
    order.give("hang");
    cluster.signal(Signal::HUP);
    let new = cluster.until("the new nursery", |story| {
        let said = story.events().filter_map(|event| match event {
            Event::Said(line) => line.strip_prefix("preload in ")?.parse().ok(),
            _ => None,
        });
        said.collect::<Vec<u32>>().get(1).copied()
    });
    cluster.expect_log("was killed by SIGKILL");
    process::signal(new, Signal::KILL);
    assert!(failure(&mut cluster, 2).contains("was killed by SIGKILL"));
    order.take_back();
    let old = nurseries(&cluster)[0];
    process::signal(old, Signal::KILL);
    cluster.logged("the nursery was killed by SIGKILL; another takes its place");
    cluster.signal_worker(1, Signal::KILL);
    cluster.exit(1);
    cluster.up(2);
    cluster.stop();
}

/// Mutation: leave a nursery that preloads out of the stop.
#[test]
fn p58_a_stop_does_not_wait_for_a_preload() {
    for (signal, code) in [(Signal::TERM, 0), (Signal::QUIT, 131)] {
        let order = Order::new(&format!("stop-{code}"));
        let mut cluster = order.cluster("60s");
        order.give("hang");
        cluster.signal(Signal::HUP);
        cluster.logged("reload: generation 2 begins");
        if code != 0 {
            cluster.expect_log("SIGQUIT");
        }
        cluster.signal(signal);
        let story = cluster.ends(code);
        assert!(story.said("reload 2 failed: the cluster stops"), "{story}");
    }
}
