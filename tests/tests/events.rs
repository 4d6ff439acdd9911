//! The events of a worker's life: which, in which order, with what in them.

use cluster_tests::client::{ask, attempt};
use cluster_tests::{Cluster, Event, Signal, process};

const WHOLE_LIFE: [&str; 5] = ["fork", "online", "listening", "disconnect", "exit"];

/// Mutation: publish `online` when the worker is forked; start ids at 0.
#[test]
fn n03_each_event_once_in_order_with_its_state() {
    let mut cluster = Cluster::start("serve", 2);
    assert_eq!(cluster.fork(1).slot, 0);
    assert_eq!(cluster.fork(2).slot, 1);
    let story = cluster.stop();
    for id in [1, 2] {
        assert_eq!(story.life(id), WHOLE_LIFE, "{story}");
    }
    let states: Vec<_> = story
        .events()
        .filter(|event| event.id() == Some(1))
        .map(|event| match event {
            Event::Fork(forked) => forked.state.as_str(),
            Event::Online { state, .. }
            | Event::Listening { state, .. }
            | Event::Disconnect { state, .. } => state,
            Event::Exit(exited) => &exited.state,
            Event::Message { .. } | Event::Said(_) => "",
        })
        .collect();
    assert_eq!(states, ["none", "online", "listening", "disconnected", "dead"], "{story}");
}

/// Mutation: drop one of the callbacks in `Cluster::on_…`; put the builder's settings in force.
#[test]
fn n03_the_builder_by_hand_is_the_same() {
    let mut cluster = Cluster::of("by_hand").env("CLUSTER_DRAIN_TIMEOUT", "7s").start();
    let address = cluster.up(2);
    assert_eq!(ask(&address, "/").status, 200);
    let story = cluster.stop();
    for id in [1, 2] {
        assert_eq!(story.life(id), WHOLE_LIFE, "{story}");
    }
    assert!(story.said("end 0"), "start() returns in the primary when all is over: {story}");
    for whose in ["the primary", "a worker"] {
        assert!(story.said(&format!("{whose} has 2 workers and 7s")), "the environment decides: {story}");
    }
}

/// Mutation: report the address that was asked for instead of the one that was bound.
#[test]
fn n37_listening_tells_the_real_port() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.listening(1);
    assert_eq!(address, cluster.listening(2), "port 0 is one port for all workers");
    assert_ne!(address, "127.0.0.1:0");
    assert_eq!(ask(&address, "/").status, 200);
    cluster.stop();
}

/// Mutation: swap code and signal where a wait status is read.
#[test]
fn n69_exit_tells_the_code() {
    let mut cluster = Cluster::start("serve", 1);
    let address = cluster.up(1);
    cluster.expect_log("status 42");
    drop(attempt(&address, "/exit/42"));
    let exit = cluster.exit(1);
    assert_eq!((exit.code, exit.signal.as_deref()), (Some(42), None));
    assert!(!exit.voluntary);
    assert_eq!(exit.pid, cluster.fork(1).pid);
    cluster.up(1);
    cluster.stop();
}

/// Mutation: let `kill` mark the worker as asked to leave; keep dead workers in the table.
#[test]
fn n80_killed_by_the_primary() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    cluster.expect_log("SIGKILL");
    // Worker 1 itself may be the one that is asked, and then it does not live to answer.
    drop(attempt(&address, "/kill/1/9"));
    let exit = cluster.exit(1);
    assert_eq!((exit.code, exit.signal.as_deref()), (None, Some("SIGKILL")));
    assert!(!exit.voluntary);
    assert_eq!(process::state(exit.pid), None, "its process is gone and reaped");
    cluster.up(2);
    ask(&address, "/disconnect/1");
    cluster.said("there is no worker 1");
    cluster.stop();
}

/// Mutation: publish `disconnect` at the channel's end and at the exit.
#[test]
fn n81_killed_from_outside() {
    let mut cluster = Cluster::start("serve", 1);
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    let exit = cluster.exit(1);
    assert_eq!((exit.code, exit.signal.as_deref()), (None, Some("SIGKILL")));
    assert!(!exit.voluntary);
    assert_eq!(exit.state, "dead");
    cluster.up(1);
    let story = cluster.stop();
    assert_eq!(story.life(1), WHOLE_LIFE, "{story}");
    let disconnected = |event: &Event| matches!(event, Event::Disconnect { id: 1, voluntary: false, state } if state == "disconnected");
    assert!(story.events().any(disconnected), "{story}");
}
