//! A stop wins, wherever a reload is.

use std::time::Duration;

use cluster_tests::client::Connection;
use cluster_tests::{Cluster, Signal, Story};

use super::outcomes;

const STOPS: [(Signal, i32); 3] = [(Signal::TERM, 0), (Signal::INT, 0), (Signal::QUIT, 131)];

fn hanging() -> Cluster {
    let mut cluster =
        Cluster::of("reload").workers(2).env("TEST_GENERATIONS", 2).env("TEST_HOW", "hang").start();
    cluster.up(2);
    cluster.signal(Signal::HUP);
    cluster.said("worker 3 is of generation 2");
    cluster
}

fn ends(mut cluster: Cluster, (signal, code): (Signal, i32)) -> Story {
    if signal == Signal::QUIT {
        cluster.expect_log("SIGQUIT");
    }
    cluster.signal(signal);
    // Sooner than anything that it could wait for.
    let story = cluster.ends(code);
    assert_eq!(story.forks().count(), story.exits().count(), "every end is told: {story}");
    story
}

/// Mutation: leave a replacement that is under way out of the stop.
#[test]
fn p58_p59_a_stop_ends_a_reload_whose_new_worker_is_not_ready() {
    for stop in STOPS {
        let story = ends(hanging(), stop);
        assert!(story.said("reload 2 failed: the cluster stops"), "{story}");
    }
}

/// Mutation: begin the reload that waits when the running one is ended by a stop.
#[test]
fn p58_a_stop_ends_a_reload_that_waits_too() {
    let mut cluster = hanging();
    cluster.signal(Signal::HUP);
    cluster.logged("SIGHUP: one more reload follows");
    cluster.signal(Signal::TERM);
    let story = cluster.ends(0);
    for generation in [2, 3] {
        assert!(story.said(&format!("reload {generation} failed: the cluster stops")), "{story}");
    }
    assert_eq!(story.forks().count(), 3, "{story}");
}

/// Mutation: forget those that were replaced when the cluster stops.
#[test]
fn p58_a_stop_waits_for_old_workers_that_drain_and_a_stop_now_does_not() {
    for stop in STOPS {
        let mut cluster = Cluster::start("serve", 2);
        let address = cluster.up(2);
        let mut held = Connection::to(&address);
        held.begin();
        cluster.signal(Signal::HUP);
        cluster.said("reload 2 ok");
        if stop.0 == Signal::QUIT {
            ends(cluster, stop);
            continue;
        }
        cluster.signal(stop.0);
        cluster.logged(": stopping, ");
        let reply = held.finish().reply();
        assert_eq!(reply.number("generation"), Some(1));
        assert_eq!(outcomes(&cluster), ["2 ok"]);
        cluster.ends(0);
    }
}

/// Mutation: leave the reload's new worker without a word of the primary's death.
#[test]
fn p25_the_primary_is_killed_while_it_reloads() {
    let mut cluster = hanging();
    cluster.fork(3);
    cluster.signal(Signal::KILL);
    assert_eq!(cluster.orphaned(Duration::from_secs(10)).len(), 3);
}
