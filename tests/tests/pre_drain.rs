//! The time between the word to stop and the drain.

use std::time::{Duration, Instant};

use cluster_tests::client::{Connection, Outcome, ask, attempt};
use cluster_tests::load::Load;
use cluster_tests::{Cluster, Signal};

fn started(pre_drain: &str, workers: usize) -> (Cluster, String) {
    let mut cluster = Cluster::of("serve").workers(workers).env("CLUSTER_PRE_DRAIN", pre_drain).start();
    let address = cluster.up(workers);
    (cluster, address)
}

/// Both say so, without a moment in which one of them does not yet.
fn until_unhealthy(cluster: &mut Cluster, address: &str) {
    cluster.eventually("both workers to know", || (0..4).all(|_| ask(address, "/health").status == 503));
}

/// Mutation: close the door at the signal; tell workers only at their drain.
#[test]
fn the_cluster_serves_on_and_says_that_it_will_stop() {
    // Long enough for two hundred answers, and the workers' word before them, also on a machine that is slow or stands still.
    let (mut cluster, address) = started("5s", 2);
    assert_eq!(ask(&address, "/health").status, 200);
    let load = Load::on(&address, 4);
    load.served(100);
    let began = Instant::now();
    cluster.signal(Signal::TERM);
    until_unhealthy(&mut cluster, &address);
    load.served(200);
    load.refused(20);
    let took = began.elapsed();
    let tally = load.stop();
    cluster.check(tally.harmed() == 0, &format!("nothing lost: {tally:?}"));
    cluster.check(tally.ok_after_refused == 0, &format!("no answer after a refusal: {tally:?}"));
    cluster.check(took >= Duration::from_secs(5), &format!("served for five seconds: {took:?}"));
    cluster.ends(0);
}

/// Mutation: hand what comes meanwhile to nobody new; leave the place of who dies empty.
#[test]
fn who_dies_meanwhile_is_replaced_by_one_that_knows() {
    let (mut cluster, address) = started("1m", 2);
    cluster.signal(Signal::TERM);
    until_unhealthy(&mut cluster, &address);
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(2, Signal::KILL);
    cluster.listening(3);
    until_unhealthy(&mut cluster, &address);
    cluster.signal(Signal::TERM);
    cluster.ends(0);
}

/// Mutation: let the second signal kill; let it do nothing.
#[test]
fn a_second_signal_begins_the_drain_and_a_third_one_kills() {
    let (mut cluster, address) = started("1m", 1);
    let mut busy = Connection::to(&address);
    busy.begin();
    cluster.signal(Signal::TERM);
    until_unhealthy(&mut cluster, &address);
    cluster.signal(Signal::INT);
    cluster.eventually("the door to be closed", || attempt(&address, "/") == Outcome::Refused);
    cluster.expect_log("stopped at once by SIGTERM");
    cluster.signal(Signal::TERM);
    cluster.ends(128 + 15);
}

/// Mutation: begin it; or answer nothing.
#[test]
fn no_reload_begins_any_more() {
    let (mut cluster, address) = started("1m", 2);
    ask(&address, "/disconnect-all");
    until_unhealthy(&mut cluster, &address);
    cluster.signal(Signal::HUP);
    cluster.until("the reload's end", |story| {
        let failed = |line: &str| line.starts_with("reload 2 failed");
        story
            .events()
            .any(|event| matches!(event, cluster_tests::Event::Said(line) if failed(line)))
            .then_some(())
    });
    assert_eq!(cluster.story().forks().count(), 2);
    // The first signal after a callback's word changes nothing, the second begins the drain.
    cluster.signal(Signal::TERM);
    cluster.logged("SIGTERM: stopping");
    assert_eq!(ask(&address, "/").status, 200);
    cluster.signal(Signal::TERM);
    cluster.ends(0);
}

/// Mutation: wait for the end of the time all the same.
#[test]
fn p58_a_stop_in_the_time_before_the_drain_always_ends() {
    for (signal, code) in [(Signal::QUIT, 131), (Signal::TERM, 0), (Signal::INT, 0)] {
        let (mut cluster, address) = started("1m", 2);
        cluster.signal(Signal::TERM);
        until_unhealthy(&mut cluster, &address);
        if signal == Signal::QUIT {
            cluster.expect_log("stopped at once by SIGQUIT");
        }
        cluster.signal(signal);
        cluster.ends(code);
    }
    // And when everybody is gone, though the time is not over.
    let (mut cluster, address) = started("1m", 1);
    cluster.signal(Signal::TERM);
    until_unhealthy(&mut cluster, &address);
    ask(&address, "/disconnect/1");
    cluster.ends(0);
}

/// Mutation: wait before workers that never served.
#[test]
fn p58_where_nobody_is_ready_there_is_nothing_to_wait_for() {
    let mut cluster = Cluster::of("reload")
        .workers(1)
        .env("CLUSTER_PRE_DRAIN", "1m")
        .env("TEST_GENERATIONS", 1)
        .env("TEST_HOW", "hang")
        .env("CLUSTER_DRAIN_TIMEOUT", "100ms")
        .start();
    cluster.said("worker 1 is of generation 1");
    cluster.signal(Signal::TERM);
    cluster.ends(0);
}

/// Mutation: drain at once where there is no primary.
#[test]
fn unclustered_too() {
    let mut cluster =
        Cluster::of("net_signal").env("CLUSTER_WORKERS", 0).env("CLUSTER_PRE_DRAIN", "1m").start();
    let pid = cluster.pid();
    cluster.eventually("its thread", || cluster_tests::process::threads(pid) > 1);
    cluster.signal(Signal::TERM);
    cluster.listen_for(Duration::from_millis(200));
    cluster.check(cluster_tests::process::state(pid).is_some_and(|(state, _)| state != 'Z'), "to go on");
    cluster.signal(Signal::TERM);
    cluster.ends(0);
}
