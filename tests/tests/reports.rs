//! Six ends of a worker are six different reports.

use cluster_tests::client::attempt;
use cluster_tests::{Cluster, Exited, Signal, forks};

/// One worker that serves, and dies of this request.
fn end_by(path: &str, in_log: Option<&str>) -> Exited {
    let mut cluster = Cluster::start("serve", 1);
    if let Some(part) = in_log {
        cluster.expect_log(part);
    }
    let address = cluster.up(1);
    drop(attempt(&address, path));
    let exit = cluster.exit(1);
    if exit.voluntary {
        cluster.ends(0);
    } else {
        cluster.up(1);
        cluster.stop();
    }
    exit
}

/// Mutation: make `leave` involuntary in the fleet's step.
#[test]
fn p02_leaving_is_asked() {
    let exit = end_by("/leave/0", None);
    assert_eq!((exit.reason.as_str(), exit.code, exit.voluntary), ("Asked", Some(0), true));
}

/// Mutation: treat every code 0 as asked for.
#[test]
fn p02_exit_0_unasked_is_finished() {
    let exit = end_by("/exit/0", Some("status 0"));
    assert_eq!((exit.reason.as_str(), exit.code, exit.voluntary), ("Finished", Some(0), false));
}

/// Mutation: never set the time since which a worker is ready.
#[test]
fn p02_another_code_is_failed() {
    let exit = end_by("/exit/7", Some("status 7"));
    assert_eq!((exit.reason.as_str(), exit.code, exit.voluntary), ("Failed", Some(7), false));
}

/// Mutation: let a worker count as ready from its `online` on.
#[test]
fn p02_an_end_before_readiness_is_not_started() {
    let mut cluster = Cluster::of("cannot_boot").workers(1).env("TEST_DIES", "2").start();
    cluster.up(1);
    cluster.expect_log("SIGKILL");
    cluster.expect_log("before it was ready");
    cluster.signal_worker(1, Signal::KILL);
    let exit = cluster.exit(2);
    assert_eq!((exit.reason.as_str(), exit.code), ("NotStarted", Some(1)));
    assert!(exit.text.contains("before it was ready"), "{}", exit.text);
    cluster.up(1);
    cluster.stop();
}

/// Mutation: ignore the result of preload.
#[test]
fn p02_a_failed_preload_ends_the_program() {
    if !forks() {
        return;
    }
    for (how, code, told) in [
        ("error", 1, &["the model file is missing"][..]),
        ("panic", 101, &["panicked at", "a bug in preload"]),
        ("exit", 9, &["status 9"]),
    ] {
        let mut cluster = Cluster::of("preload").workers(2).env("TEST_HOW", how).start();
        told.iter().for_each(|part| cluster.expect_log(part));
        cluster.expect_log("preload failed");
        let story = cluster.ends(code);
        assert_eq!(story.exits().count(), 0, "no worker was born: {story}");
    }
}

/// Mutation: report a SIGTERM as asked for, which would leave the slot empty.
#[test]
fn p02_sigterm_drains_and_sigkill_hints_at_memory() {
    let mut cluster = Cluster::start("serve", 1);
    cluster.expect_log("status 0");
    cluster.signal_worker(1, Signal::TERM);
    let exit = cluster.exit(1);
    assert_eq!((exit.reason.as_str(), exit.code, exit.voluntary), ("Finished", Some(0), false));
    cluster.listening(2);
    cluster.expect_log("out of memory?");
    cluster.signal_worker(2, Signal::KILL);
    let exit = cluster.exit(2);
    assert_eq!((exit.reason.as_str(), exit.code, exit.signal.as_deref()), ("Killed", None, Some("SIGKILL")));
    assert!(exit.text.contains("out of memory?"), "{}", exit.text);
    cluster.up(1);
    cluster.stop();
}
