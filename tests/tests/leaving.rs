//! A worker that leaves: what it finishes, and what its own code decides.

use std::time::Duration;

use cluster_tests::client::{Connection, Outcome, ask, attempt};
use cluster_tests::{Cluster, Signal};

/// Mutation: end the process when the drain begins.
#[test]
fn n82_a_leaving_worker_stays_for_its_connection() {
    let mut cluster = Cluster::start("serve", 1);
    let address = cluster.up(1);
    let mut held = Connection::to(&address);
    held.begin();
    ask(&address, "/disconnect/1");
    cluster.listen_for(Duration::from_millis(300));
    let early = cluster.story().exits().count();
    cluster.check(early == 0, "the worker to stay while it is busy");
    assert_eq!(held.finish().reply().worker(), 1);
    let exit = cluster.exit(1);
    assert_eq!((exit.code, exit.voluntary), (Some(0), true));
    // Nobody is left, and nobody is to come.
    cluster.ends(0);
}

/// Mutation: publish `disconnect` when the worker is told to drain; keep idle connections open while draining.
#[test]
fn n83_disconnect_comes_after_the_last_connection() {
    let mut cluster = Cluster::start("serve", 1);
    let address = cluster.up(1);
    let mut idle = Connection::to(&address);
    idle.ask("/");
    let mut held = Connection::to(&address);
    held.begin();
    ask(&address, "/disconnect/1");
    assert!(idle.is_closed_within(Duration::from_secs(2)), "an idle connection is closed by the drain");
    // The drain began a while ago. What was printed then is read now: only waits read the story on.
    cluster.listen_for(Duration::from_millis(100));
    let early = cluster.story().life(1).contains(&"disconnect");
    cluster.check(!early, "no disconnect while a request is under way");
    let _ = held.finish().reply();
    cluster.exit(1);
    let story = cluster.ends(0);
    assert_eq!(story.life(1)[3..], ["disconnect", "exit"], "{story}");
}

/// Mutation: exit with 0 as soon as the drain is over, whatever the body still wants to do.
#[test]
fn n75_one_that_left_voluntarily_decides_its_code() {
    let mut cluster = Cluster::start("serve", 1);
    let address = cluster.up(1);
    ask(&address, "/leave/42");
    let exit = cluster.exit(1);
    assert_eq!((exit.code, exit.voluntary), (Some(42), true));
    cluster.ends(0);
}

/// Mutation: leave the worker's primary-is-gone signal unwatched.
#[test]
fn n75_one_whose_primary_is_gone_exits_with_0_even_if_its_code_never_would() {
    for fixture in ["stubborn", "idle"] {
        let mut cluster = Cluster::of(fixture).workers(2).start();
        cluster.said("body 1");
        cluster.said("body 2");
        // A worker may speak before the primary has told of its birth.
        cluster.fork(1);
        cluster.fork(2);
        cluster.signal(Signal::KILL);
        assert_eq!(cluster.orphaned(Duration::from_secs(2)), [0, 0]);
    }
}

/// The control of this file's claims: what is begun in a worker that is killed is lost, and the judge says so.
#[test]
fn n82_control_a_killed_worker_loses_what_it_has_begun() {
    let mut cluster = Cluster::start("serve", 1);
    let address = cluster.up(1);
    let mut held = Connection::to(&address);
    held.begin();
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.listening(2);
    let outcome = held.finish();
    assert!(matches!(outcome, Outcome::Lost(_) | Outcome::Reset), "{outcome:?}");
    assert!(matches!(attempt(&address, "/"), Outcome::Answered(_)));
    cluster.stop();
}
