//! User code in the primary: what it may do, and what becomes of its mistakes.

use std::time::Duration;

use cluster_tests::{Cluster, Signal, by_exec};

/// Mutation: call callbacks without a guard.
#[test]
fn a_callback_that_panics_is_reported_and_the_cluster_lives() {
    let mut cluster = Cluster::of("callbacks").workers(2).env("TEST_CALLBACK", "panic").start();
    cluster.expect_log("thread 'main'");
    cluster.expect_log("a bug in a callback");
    cluster.expect_log("on_online panicked; the cluster goes on");
    cluster.said("primary heard 1 15728640");
    cluster.said("primary heard 2 15728640");
    cluster.stop();
}

/// Mutation: fork without a look at the number of threads; say it at each birth.
#[test]
fn beside_a_thread_in_the_primary_workers_are_born_by_exec() {
    let mut cluster = Cluster::of("callbacks").workers(2).env("TEST_CALLBACK", "thread").start();
    cluster.said("primary heard 1 15728640");
    cluster.said("primary heard 2 15728640");
    cluster.expect_log("was killed by SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.said("primary heard 3 15728640");
    cluster.signal_worker(3, Signal::KILL);
    cluster.said("primary heard 4 15728640");
    let story = cluster.stop();
    let told = story.log().filter(|line| line.contains("only a process of one thread can be forked")).count();
    assert_eq!(told, usize::from(!by_exec()), "it is told once, where anybody wanted to fork: {story}");
}

/// Mutation: spawn at once in `fork()`, or lose the tray.
#[test]
fn a_callback_may_fork() {
    let mut cluster = Cluster::of("callbacks")
        .workers(1)
        .env("CLUSTER_RESTART", "never")
        .env("TEST_CALLBACK", "fork")
        .start();
    cluster.said("primary heard 1 15728640");
    cluster.expect_log("was killed by SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.said("forked 2");
    cluster.said("primary heard 2 15728640");
    cluster.stop();
}

/// Mutation: take a callback's disconnect for the first of two signals; do not count timers into the wait.
#[test]
fn timers_run_and_signals_are_heard() {
    let mut cluster = Cluster::of("callbacks").workers(2).env("TEST_CALLBACK", "clock").start();
    cluster.said("after");
    cluster.said("every 3");
    cluster.said("primary heard 1 15728640");
    cluster.said("primary heard 2 15728640");
    // It prints its status, too.
    cluster.expect_log("  ");
    cluster.signal(Signal::USR1);
    cluster.said("signal for 2");
    cluster.stop();
}

/// Mutation: take the program's panic hook away; let workers live on without their primary.
#[test]
fn n67_a_panic_hook_decides_the_status() {
    let mut cluster = Cluster::of("callbacks").workers(2).env("TEST_CALLBACK", "hook").start();
    // Both are there before either speaks.
    cluster.fork(2);
    assert_eq!(cluster.orphaned_by(Some(42), Duration::from_secs(10)).len(), 2);
}

/// Mutation: call a worker's own callbacks without a guard.
#[test]
fn n33_a_panic_on_the_way_of_a_bind_error_changes_nothing_about_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address");
    let mut cluster = Cluster::of("own_events").workers(2).bind(&address.to_string()).start();
    cluster.expect_log("Address already in use");
    cluster.expect_log("thread 'main'");
    cluster.expect_log("a bug in a worker's own callback");
    cluster.expect_log("Worker::on_exit panicked; the cluster goes on");
    cluster.expect_log("before it was ready");
    cluster.ends(1);
}
