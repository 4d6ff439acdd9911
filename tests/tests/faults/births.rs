//! Workers that can't be born.

use cluster_tests::client::ask;
use cluster_tests::faults::{Fault, Trace};
use cluster_tests::{Cluster, Signal, can_inject};

/// A first generation that can't be born is as one that can't boot. Mutation: leave the one alone that was born; panic.
#[test]
fn p03_a_first_birth_that_the_kernel_refuses_ends_the_program_and_says_why() {
    if !can_inject() {
        return;
    }
    let trace = Trace::default();
    let mut cluster = Cluster::of("serve")
        .workers(3)
        .inject("clone,clone3,fork,vfork:error=EAGAIN:when=2", &trace.path())
        .start();
    cluster.expect_log("starting worker 2: ");
    cluster.expect_log("Resource temporarily unavailable");
    cluster.expect_log("worker 2 could not be started");
    let story = cluster.ends(1);
    assert_eq!(trace.injected(), 1);
    assert!(!story.log().any(|line| line.contains("socket")), "no advice beside the point: {story}");
    assert!(story.forks().all(|fork| fork.id != 2), "who was not born has no events: {story}");
}

/// Mutation: as above; count a birth that failed as a death of the program's.
#[test]
fn p12_a_respawn_that_the_kernel_refuses_is_tried_again_while_others_serve() {
    if !can_inject() {
        return;
    }
    for error in ["EAGAIN", "ENOMEM"] {
        let mut cluster = Cluster::start("serve", 2);
        let address = cluster.up(2);
        cluster.expect_log("SIGKILL");
        cluster.expect_log("starting worker");
        let fault = Fault::attach(cluster.pid(), &format!("clone,clone3,fork,vfork:error={error}:when=1..3"));
        cluster.signal_worker(1, Signal::KILL);
        cluster.exit(1);
        (0..20).for_each(|_| assert_eq!(ask(&address, "/").worker(), 2));
        cluster.eventually("three attempts", || fault.injected() == 3);
        drop(fault);
        cluster.up(2);
        cluster.stop();
    }
}

/// Mutation: leave a process alone that can't be watched.
#[test]
fn p12_a_worker_that_can_not_be_watched_is_ended_and_another_is_born() {
    if !can_inject() {
        return;
    }
    for (call, error) in [("pidfd_open", "EMFILE"), ("pidfd_open", "ENOMEM"), ("socketpair", "ENFILE")] {
        let mut cluster = Cluster::start("serve", 2);
        let address = cluster.up(2);
        cluster.expect_log("SIGKILL");
        cluster.expect_log("starting worker");
        let fault = Fault::attach(cluster.pid(), &format!("{call}:error={error}:when=1..2"));
        cluster.signal_worker(1, Signal::KILL);
        cluster.exit(1);
        cluster.eventually("two failures", || fault.injected() == 2);
        drop(fault);
        cluster.up(2);
        assert_eq!(ask(&address, "/").status, 200);
        cluster.stop();
    }
}
