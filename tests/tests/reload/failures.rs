//! Reloads that come to nothing: the old generation serves on.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_tests::client::{Connection, ask, meets};
use cluster_tests::load::Load;
use cluster_tests::{Cluster, Signal, process};

use super::failure;

/// A reload whose new workers do this, under load: nobody is lost, and the same processes serve.
fn fails_under_load(how: &str, told: &[&str], why: &str) {
    let mut cluster = Cluster::of("reload")
        .workers(2)
        .env("TEST_GENERATIONS", 2)
        .env("TEST_HOW", how)
        // Good ones have it too, and those that fail by themselves are to do so before it is over.
        .env("CLUSTER_STARTUP_TIMEOUT", "4s")
        .start();
    let address = cluster.up(2);
    told.iter().for_each(|part| cluster.expect_log(part));
    let load = Load::mixed(&address, 2, 2);
    load.served(20);
    cluster.signal(Signal::HUP);
    let failure = failure(&mut cluster, 2);
    assert!(failure.starts_with("worker 3 ") && failure.contains(why), "{how}: {failure}");
    cluster.logged("2 workers of generation 1 and 0 of generation 2 serve on");
    load.served(50);
    let tally = load.stop();
    cluster.check(tally.harmed() + tally.refused == 0, &format!("{how}: nothing lost: {tally:?}"));
    let same = tally.by_worker.keys().all(|id| [1, 2].contains(id));
    cluster.check(same, &format!("{how}: the same as before: {tally:?}"));
    meets(&address, "worker", &[1, 2]);
    cluster.exit(3);
    let births = cluster.story().forks().count();
    cluster.check(births == 3, "no second attempt");
    cluster.stop();
}

/// Mutation: retry a replacement that died; drain the old one when the new one is online.
#[test]
fn p62_a_new_generation_that_can_not_start_changes_nothing() {
    fails_under_load(
        "error",
        &["reload: ", "the new configuration is wrong", "status 1"],
        "exited with status 1",
    );
    fails_under_load(
        "panic",
        &["reload: ", "panicked at", "a bug in the new code", "status 101"],
        "status 101",
    );
    fails_under_load("abort", &["reload: ", "SIGABRT"], "was killed by SIGABRT");
    fails_under_load("7", &["reload: ", "status 7"], "exited with status 7 after ");
}

/// Mutation: wait for readiness without a deadline; take the deadline for readiness.
#[test]
fn p78_a_new_generation_that_is_never_ready_changes_nothing() {
    fails_under_load("hang", &["reload: ", "since its time was over"], "since its time was over");
}

/// Mutation: go on with a generation whose first worker has fallen.
#[test]
fn a_new_worker_that_falls_as_soon_as_it_is_ready_ends_the_reload() {
    let mut cluster =
        Cluster::of("reload").workers(2).env("TEST_GENERATIONS", 2).env("TEST_HOW", "fall").start();
    let address = cluster.up(2);
    cluster.expect_log("status 3");
    cluster.signal(Signal::HUP);
    assert!(failure(&mut cluster, 2).contains("status 3"));
    cluster.exit(1);
    cluster.up(2);
    let generations: BTreeSet<_> = (0..4).map(|_| ask(&address, "/").number("generation")).collect();
    assert_eq!(generations, BTreeSet::from([Some(1)]), "its place is filled by what is known to work");
    cluster.stop();
}

/// Mutation: undo what was done; respawn from the generation that failed.
#[test]
fn one_that_fails_in_the_middle_leaves_both_generations_and_births_of_the_old_one() {
    let mut cluster = Cluster::of("reload")
        .workers(3)
        .env("TEST_GENERATIONS", 2)
        .env("TEST_SLOTS", 1)
        .env("TEST_HOW", 7)
        .start();
    let address = cluster.up(3);
    cluster.expect_log("status 7");
    cluster.signal(Signal::HUP);
    assert!(failure(&mut cluster, 2).starts_with("worker 5 "));
    cluster.logged("2 workers of generation 1 and 1 of generation 2 serve on");
    cluster.exit(1);
    cluster.exit(5);
    cluster.up(3);
    meets(&address, "worker", &[2, 3, 4]);
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(4, Signal::KILL);
    cluster.exit(4);
    assert_eq!(cluster.fork(6).generation, 1);
    cluster.up(3);
    cluster.stop();
}

/// Mutation: take a birth that fails for a death of the old generation.
#[test]
fn p74_without_descriptors_for_one_more_worker_it_fails_and_nobody_notices() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let mut kept = Connection::to(&address);
    let before = kept.ask("/").pid();
    cluster.expect_log("Too many open files");
    cluster.expect_log("reload: ");
    // Its worker can answer before the primary has closed its copy: that is no room for one more worker.
    let (primary, addresses) = (cluster.pid(), [address.clone()]);
    cluster.eventually("no copy to be left", || {
        process::held(primary, &addresses).is_some_and(|held| held.ports.is_empty())
    });
    process::limit_descriptors(primary, process::next_descriptor(primary) + 1);
    cluster.signal(Signal::HUP);
    let failure = failure(&mut cluster, 2);
    // By whichever descriptor it is that is missing: the primary's for the birth, or one of its own.
    assert!(failure.starts_with("worker 3 "), "{failure}");
    process::limit_descriptors(cluster.pid(), 1000);
    assert_eq!(kept.ask("/").pid(), before);
    assert_eq!(ask(&address, "/").number("generation"), Some(1));
    cluster.signal(Signal::HUP);
    cluster.said("reload 3 ok");
    cluster.up(2);
    cluster.stop();
}

/// Mutation: take the end of a replacement for that of the slot's holder; respawn an old worker that dies meanwhile only
/// after the reload.
#[test]
fn workers_of_either_generation_may_be_killed_meanwhile() {
    let mut cluster =
        Cluster::of("reload").workers(2).env("TEST_GENERATIONS", 2).env("TEST_HOW", "hang").start();
    let address = cluster.up(2);
    cluster.expect_log("SIGKILL");
    cluster.signal(Signal::HUP);
    cluster.said("worker 3 is of generation 2");
    cluster.signal_worker(1, Signal::KILL);
    cluster.listening(4);
    assert_eq!((cluster.fork(4).slot, cluster.fork(4).generation), (0, 1));
    cluster.signal_worker(3, Signal::KILL);
    assert!(failure(&mut cluster, 2).starts_with("worker 3 was killed by SIGKILL"));
    cluster.listen_for(Duration::from_millis(50));
    meets(&address, "worker", &[2, 4]);
    cluster.up(2);
    cluster.stop();
}

/// Mutation: go on with the slot of a worker that was told to leave.
#[test]
fn a_worker_that_is_disconnected_meanwhile_is_not_replaced() {
    let mut cluster = Cluster::start("serve", 3);
    let address = cluster.up(3);
    // One that is asked to leave in the same breath as the reload.
    ask(&address, "/disconnect/3");
    ask(&address, "/reload");
    cluster.said("reload 2 ok");
    cluster.exit(3);
    cluster.up(2);
    meets(&address, "slot", &[0, 1]);
    cluster.stop();
}

/// Mutation: keep what a worker that never was ready has bound; close what it shares with who it was to replace.
#[test]
fn one_that_binds_and_dies_takes_its_listeners_along_and_nobody_elses() {
    let path = std::env::temp_dir().join(format!("cluster-binds-{}.sock", std::process::id()));
    let bind = format!("unix:{}", path.display());
    let mut cluster = Cluster::of("reload")
        .workers(1)
        .bind(&bind)
        .env("TEST_GENERATIONS", 2)
        .env("TEST_HOW", "bind")
        .start();
    let address = cluster.up(1);
    cluster.expect_log("status 7");
    cluster.signal(Signal::HUP);
    assert!(failure(&mut cluster, 2).contains("status 7"));
    cluster.logged(&format!("{bind}.new is closed: no worker has a use for it"));
    cluster.eventually("its file to go", || !path.with_extension("sock.new").exists());
    assert!(path.exists(), "and the other to stay");
    assert_eq!(ask(&address, "/").worker(), 1);
    cluster.signal(Signal::HUP);
    cluster.said("reload 3 ok");
    assert_eq!(ask(&address, "/").number("generation"), Some(3));
    cluster.up(1);
    cluster.stop();
}
