//! Which worker comes back, when, and when no more.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster_tests::client::{ask, attempt};
use cluster_tests::{Cluster, Signal};

/// Mutation: give the replacement the lowest slot that was never used; log asked-for exits as errors.
#[test]
fn p01_a_killed_worker_is_replaced_in_its_slot_and_reported_once() {
    let mut cluster = Cluster::start("serve", 2);
    let killed = cluster.fork(1);
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    assert_eq!(cluster.exit(1).signal.as_deref(), Some("SIGKILL"));
    let replacement = cluster.fork(3);
    assert_eq!(replacement.slot, killed.slot);
    assert_ne!(replacement.pid, killed.pid);
    let address = cluster.up(2);
    ask(&address, "/disconnect/2");
    assert!(cluster.exit(2).voluntary);
    let story = cluster.stop();
    assert_eq!(story.log().filter(|line| line.contains("SIGKILL")).count(), 1, "{story}");
}

/// Mutation: respawn a first generation that never was ready.
#[test]
fn p03_a_first_generation_that_cannot_boot_ends_the_program() {
    // One worker where it prints something itself: std does so in pieces, and the other is killed in the middle of it.
    for (how, workers, code, told) in [
        ("error", 1, 1, &["the database is closed", "Error: "][..]),
        ("panic", 1, 101, &["panicked at", "a bug at boot"]),
        ("7", 2, 7, &["status 7"]),
        ("abort", 2, 134, &["SIGABRT"]),
    ] {
        let mut cluster = Cluster::of("cannot_boot").workers(workers).env("TEST_HOW", how).start();
        told.iter().for_each(|part| cluster.expect_log(part));
        cluster.expect_log("before it was ready");
        let began = Instant::now();
        let story = cluster.ends(code);
        assert!(began.elapsed() < Duration::from_secs(8), "{how}: not at once: {story}");
        assert!(story.forks().count() <= workers, "{how}: it was tried again: {story}");
    }
}

/// Mutation: count one death less; forget to stop the others when giving up.
#[test]
fn p07_more_deaths_than_allowed_give_up() {
    let mut cluster = Cluster::of("cannot_boot")
        .workers(2)
        .env("TEST_DIES", "3-")
        .env("CLUSTER_MAX_RESTARTS", 3)
        .env("CLUSTER_RESTART_WINDOW", "60s")
        .start();
    cluster.up(2);
    cluster.expect_log("SIGKILL");
    cluster.expect_log("before it was ready");
    cluster.expect_log("gave up");
    cluster.signal_worker(1, Signal::KILL);
    let story = cluster.ends(1);
    assert_eq!(story.forks().count(), 2 + 4, "the fourth death is one too many: {story}");
    let stopped = story.exits().find(|exit| exit.id == 2).map(|exit| (exit.code, exit.voluntary));
    assert_eq!(stopped, Some((Some(0), true)), "the other worker is told to leave: {story}");
}

/// Mutation: let the streak have no delay; do not reset it by service.
#[test]
fn p12_delays_grow_and_service_resets_them() {
    let mut cluster = Cluster::of("cannot_boot")
        .workers(1)
        .env("TEST_DIES", "2 3 4 6 7")
        .env("CLUSTER_MAX_RESTARTS", 10)
        .start();
    let address = cluster.up(1);
    cluster.expect_log("SIGKILL");
    cluster.expect_log("before it was ready");
    cluster.expect_log("status 3");
    cluster.signal_worker(1, Signal::KILL);
    cluster.listening(5);
    ask(&address, "/");
    // Proven, it dies by its own fault: at once there is another.
    drop(attempt(&address, "/exit/3"));
    cluster.listening(8);
    let story = cluster.stop();
    // The primary's own word, since the time between two lines says as much of who reads them: 100 ms after the second death in a
    // row, doubled after each one more, and a quarter more or less; at once after all others.
    let delays: Vec<f64> = story
        .log()
        .filter_map(|line| {
            line.split_once("slot 0 is filled again in ")?.1.split_once("ms: ")?.0.parse().ok()
        })
        .collect();
    let ranges = [75.0..125.0, 150.0..250.0, 75.0..125.0];
    let so = delays.len() == 3 && delays.iter().zip(ranges).all(|(delay, range)| range.contains(delay));
    assert!(so, "later, and later, and from the start again: {delays:?}: {story}");
    // And it keeps it: 225 ms at least, of which the reader may have missed the first.
    let at = |name: &str, id: u64| {
        let mut events = story.timed();
        let found = events.find(|(_, event)| event.name() == name && event.id() == Some(id));
        found.unwrap_or_else(|| panic!("no {name} of {id}: {story}")).0
    };
    assert!(at("fork", 5).saturating_sub(at("exit", 1)) >= Duration::from_millis(100), "{story}");
}

/// Mutation: push a new slot for each replacement.
#[test]
fn p18_slots_stay_below_the_number_of_workers() {
    let mut cluster = Cluster::start("serve", 3);
    cluster.expect_log("SIGKILL");
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..50 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let up = cluster.story().listening();
        let victim = up[usize::try_from(random % 3).expect("below 3")];
        cluster.signal_worker(victim, Signal::KILL);
        cluster.exit(victim);
        cluster.up(3);
    }
    let slots: BTreeSet<_> = cluster.story().forks().map(|fork| fork.slot).collect();
    assert_eq!(slots, BTreeSet::from([0, 1, 2]));
    cluster.stop();
}
