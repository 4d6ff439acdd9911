//! Messages from worker to worker, and to all.

use cluster_tests::{Cluster, Signal};

/// Mutation: broadcast to the sender too, or answer a relay with nothing when nobody fills the slot.
#[test]
fn workers_talk_to_each_other_and_hear_of_a_loss() {
    let mut cluster = Cluster::of("talk").start();
    cluster.said("not told: []");
    for line in ["broadcast: Ok(())", "to 1: Ok(())", "to 0: Ok(())", "to 7: Err(Lost([(7, Closed)]))"] {
        cluster.said(line);
    }
    for line in ["1 heard to others", "2 heard to others", "1 heard to 1", "0 heard to 0"] {
        cluster.said(&format!("slot {line}"));
    }
    cluster.logged("warning: a message was not passed on to slot 8: nobody fills it");
    let story = cluster.stop();
    assert!(!story.said("slot 0 heard to others") && !story.said("slot 2 heard to 1"), "{story}");
}

/// Mutation: have the primary wait for a worker that does not read, or keep what it is sent without a limit.
#[test]
fn a_worker_that_does_not_read_harms_itself_alone() {
    let mut cluster = Cluster::of("talk").env("TEST_TALK", "deaf").env("CLUSTER_RESTART", "never").start();
    cluster.said("slot 2 is full");
    cluster.said("slot 1 heard to others");
    cluster.said("slot 1 heard to 1");
    let pages = std::fs::read_to_string(format!("/proc/{}/statm", cluster.pid())).expect("statm");
    let resident: usize = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("pages");
    cluster.check(resident * 4096 < 128 << 20, "the primary keeps 32 MiB for it and no more");
    // It might not read that it is to go, either.
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(3, Signal::KILL);
    cluster.exit(3);
    cluster.stop();
}

/// Mutation: have the unclustered program lose what it says to itself, or find others.
#[test]
fn unclustered_there_is_one_slot_and_nobody_else() {
    let mut cluster = Cluster::of("talk").workers(0).start();
    cluster.said("slot 0 heard begin");
    for line in ["broadcast: Ok(())", "to 1: Err(Lost([(1, Closed)]))", "to 0: Ok(())"] {
        cluster.said(line);
    }
    cluster.said("slot 0 heard to 0");
    let story = cluster.stop();
    assert!(!story.said("slot 0 heard to others"), "{story}");
}
