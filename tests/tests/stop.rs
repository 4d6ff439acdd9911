//! How a cluster ends that is told to.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, process};

use cluster_tests::client::{Connection, Outcome, attempt, meets};
use cluster_tests::load::Load;
use cluster_tests::process::state;
use cluster_tests::{Cluster, Signal, can_inject};

/// Every request is answered or refused; once one was refused, none is answered.
fn term_under_load(mut cluster: Cluster) {
    let address = cluster.up(2);
    let load = Load::on(&address, 4);
    load.served(300);
    meets(&address, "worker", &[1, 2]);
    cluster.signal(Signal::TERM);
    load.refused(20);
    let tally = load.stop();
    cluster.check(tally.harmed() == 0, &format!("nothing lost: {tally:?}"));
    cluster.check(tally.ok_after_refused == 0, &format!("no answer after a refusal: {tally:?}"));
    cluster.ends(0);
}

/// Mutation: drop the lanes' content.
#[test]
fn p42_term_closes_the_tcp_listener_and_loses_nothing() {
    term_under_load(Cluster::start("serve", 2));
}

/// Mutation: as for TCP; leave the socket's file.
#[test]
fn p42_term_closes_the_unix_listener_and_loses_nothing() {
    let path: PathBuf = env::temp_dir().join(format!("cluster-p42-{}.sock", process::id()));
    term_under_load(Cluster::of("serve").workers(2).bind(&format!("unix:{}", path.display())).start());
}

/// A stop with time between its steps for all clients to come: before the door is closed, and after the last was
/// accepted and before the listener is closed.
fn slow_term_under_load(address: &str) {
    if !can_inject() {
        return;
    }
    // The door is closed by setsockopt (TCP) or shutdown (Unix), and the lanes are ended by shutdown.
    let slowly = "setsockopt,shutdown:delay_enter=50000";
    term_under_load(Cluster::of("serve").workers(2).bind(address).inject(slowly, "/dev/null").start());
}

/// Mutation: close the listener before what waits in its backlog was handed over, or without closing the door first.
#[test]
fn p42_who_comes_while_the_tcp_listener_is_being_closed_is_answered_or_refused() {
    slow_term_under_load("127.0.0.1:0");
}

/// Mutation: as for TCP.
#[test]
fn p42_who_comes_while_the_unix_listener_is_being_closed_is_answered_or_refused() {
    let path: PathBuf = env::temp_dir().join(format!("cluster-p42-slow-{}.sock", process::id()));
    slow_term_under_load(&format!("unix:{}", path.display()));
}

/// Mutation: at a stop, drop what the lanes do not take at once; or give a draining worker's lane to the next, and so on.
#[test]
fn p42_more_than_the_lanes_hold_is_served_before_the_end() {
    const CLIENTS: usize = 700;
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    for id in 1..=2 {
        cluster.signal_worker(id, Signal::STOP);
    }
    let mut clients: Vec<Connection> = (0..CLIENTS).map(|_| Connection::to(&address)).collect();
    for client in &mut clients {
        client.write(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("write a request");
    }
    cluster.signal(Signal::TERM);
    cluster.logged("SIGTERM: stopping");
    for id in 1..=2 {
        cluster.signal_worker(id, Signal::CONT);
    }
    let mut served = [0; 3];
    for mut client in clients {
        served[usize::try_from(client.read_to_end().reply().worker()).expect("a small number")] += 1;
    }
    assert!(served[1] > 0 && served[2] > 0 && served[1] + served[2] == CLIENTS, "{served:?}");
    cluster.ends(0);
}

/// The control of P42: to stop now does lose what was begun, and the judge says so.
#[test]
fn p42_control_quit_loses_what_was_begun() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let mut held = Connection::to(&address);
    held.begin();
    cluster.expect_log("SIGQUIT");
    cluster.signal(Signal::QUIT);
    cluster.ends(128 + 3);
    let outcome = held.finish();
    assert!(matches!(outcome, Outcome::Lost(_) | Outcome::Reset), "{outcome:?}");
}

/// Mutation: end the primary before it has reaped the last worker.
#[test]
fn p43_term_leaves_no_process_and_reports_every_end() {
    let mut cluster = Cluster::start("serve", 4);
    let address = cluster.up(4);
    let mut held: Vec<_> = (0..8).map(|_| Connection::to(&address)).collect();
    held.iter_mut().for_each(Connection::begin);
    cluster.signal(Signal::TERM);
    for connection in &mut held {
        let _ = connection.finish().reply();
    }
    let story = cluster.ends(0);
    let well = story.exits().filter(|exit| exit.voluntary && exit.code == Some(0) && exit.reason == "Asked");
    assert_eq!((story.forks().count(), well.count()), (4, 4), "{story}");
}

/// Mutation: wait for the connections without a deadline.
#[test]
fn p45_the_drain_timeout_cuts_what_does_not_end() {
    let mut cluster = Cluster::of("serve").workers(2).env("CLUSTER_DRAIN_TIMEOUT", "1s").start();
    let address = cluster.up(2);
    let mut held: Vec<_> = (0..4).map(|_| Connection::to(&address)).collect();
    held.iter_mut().for_each(Connection::begin);
    let began = Instant::now();
    cluster.signal(Signal::TERM);
    for connection in &mut held {
        assert!(connection.is_closed_within(Duration::from_secs(9)), "a client hangs");
    }
    let story = cluster.ends(0);
    let took = began.elapsed();
    let well = story.exits().all(|exit| exit.code == Some(0));
    assert!(well, "they cut what did not end, and were not killed for it: {story}");
    assert!(took >= Duration::from_secs(1), "they had their second: {took:?}");
    assert!(took < Duration::from_secs(10), "the timeout and not much more: {took:?}");
}

/// Mutation: never send SIGKILL.
#[test]
fn p45_a_body_that_ignores_its_drain_is_killed() {
    let mut cluster = Cluster::of("stubborn").workers(2).env("CLUSTER_DRAIN_TIMEOUT", "500ms").start();
    cluster.said("body 1");
    cluster.said("body 2");
    cluster.expect_log("its time was over");
    let began = Instant::now();
    cluster.signal(Signal::TERM);
    let story = cluster.ends(0);
    assert!(began.elapsed() < Duration::from_secs(10), "{story}");
    assert_eq!(story.exits().count(), 2, "{story}");
}

/// Mutation: never send SIGKILL.
#[test]
fn n35_a_worker_that_spins_is_killed_in_the_end() {
    let mut cluster = Cluster::of("serve").workers(2).env("CLUSTER_DRAIN_TIMEOUT", "500ms").start();
    let address = cluster.up(2);
    let (mut one, mut other) = (Connection::to(&address), Connection::to(&address));
    let spinning = one.ask("/").worker();
    // By turns it is the next, but for one that is kept from its processor.
    while other.ask("/").worker() == spinning {
        other = Connection::to(&address);
    }
    one.write(b"GET /spin HTTP/1.1\r\nHost: test\r\n\r\n").expect("write a request");
    cluster.said(&format!("spinning {spinning}"));
    cluster.expect_log("SIGKILL");
    other.ask(&format!("/kill/{spinning}/15"));
    let exit = cluster.exit(spinning);
    assert_eq!((exit.signal.as_deref(), exit.reason.as_str()), (Some("SIGKILL"), "TimedOut"));
    cluster.up(2);
    cluster.stop();
}

/// A spinning worker's thread for its channel still hears a SIGTERM, and asks to be drained. This one's does not.
///
/// Mutation: let `kill(SIGTERM)` only send the signal.
#[test]
fn n35_a_worker_that_hears_nothing_is_killed_in_the_end() {
    let mut cluster = Cluster::of("serve").workers(2).env("CLUSTER_DRAIN_TIMEOUT", "500ms").start();
    let address = cluster.up(2);
    let mut other = Connection::to(&address);
    let deaf = 3 - other.ask("/").worker();
    cluster.signal_worker(deaf, Signal::STOP);
    let pid = cluster.fork(deaf).pid;
    cluster.eventually("the worker to stop", || state(pid).is_some_and(|(state, _)| state == 'T'));
    cluster.expect_log("SIGKILL");
    other.ask(&format!("/kill/{deaf}/15"));
    let exit = cluster.exit(deaf);
    assert_eq!((exit.signal.as_deref(), exit.reason.as_str()), (Some("SIGKILL"), "TimedOut"));
    cluster.up(2);
    cluster.stop();
}

/// Mutation: keep accepting while draining; ignore the second signal.
#[test]
fn p57_a_drain_takes_nothing_new_and_a_second_signal_ends_it_now() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut cluster = Cluster::start("serve", 2);
        let address = cluster.up(2);
        let mut held = Connection::to(&address);
        held.begin();
        cluster.signal(signal);
        cluster.eventually("connections to be refused", || attempt(&address, "/") == Outcome::Refused);
        cluster.listen_for(Duration::from_millis(50));
        let early = cluster.story().all_gone();
        cluster.check(!early, "the drain to wait for the request that is under way");
        cluster.expect_log(if signal == Signal::TERM { "SIGTERM" } else { "SIGINT" });
        let began = Instant::now();
        cluster.signal(signal);
        cluster.ends(128 + signal.as_raw());
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

/// What `docs/signals.md` says of the program's status. Mutation: end with 0, or with 1, in any of them.
#[test]
fn p44_each_way_to_stop_has_its_status() {
    let once = [(Signal::TERM, 0), (Signal::INT, 0), (Signal::QUIT, 131)];
    let ways = once.map(|(signal, code)| (vec![signal], code));
    let twice = [
        (vec![Signal::TERM, Signal::TERM], 143),
        (vec![Signal::INT, Signal::TERM], 143),
        (vec![Signal::TERM, Signal::INT], 130),
        (vec![Signal::TERM, Signal::QUIT], 131),
    ];
    for (signals, code) in ways.into_iter().chain(twice) {
        let mut cluster = Cluster::start("serve", 2);
        let address = cluster.up(2);
        // Something to drain, where there is to be a second signal.
        let mut held: Vec<_> = signals.iter().skip(1).map(|_| Connection::to(&address)).collect();
        held.iter_mut().for_each(Connection::begin);
        for signal in &signals {
            cluster.signal(*signal);
            cluster.logged(&format!("{}: stopping", name(*signal)));
        }
        if code != 0 {
            cluster.expect_log("stopping now");
            cluster.expect_log("SIG");
        }
        cluster.ends(code);
    }
}

fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::TERM => "SIGTERM",
        Signal::INT => "SIGINT",
        Signal::QUIT => "SIGQUIT",
        other => panic!("{other:?} stops nothing"),
    }
}

/// Mutation: close the listeners when the last worker has ended; end with the first.
#[test]
fn p47_a_request_that_spans_the_stop_is_answered_while_who_comes_is_refused() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut cluster = Cluster::start("serve", 2);
        let address = cluster.up(2);
        let mut held = Connection::to(&address);
        held.begin();
        cluster.signal(signal);
        cluster.eventually("connections to be refused", || attempt(&address, "/") == Outcome::Refused);
        assert_eq!(attempt(&address, "/"), Outcome::Refused, "and not only once");
        let reply = held.finish().reply();
        assert_eq!(reply.status, 200);
        cluster.ends(0);
    }
}

/// Mutation: tell of an end when it is asked for, and when it is seen.
#[test]
fn p48_each_worker_ends_once_however_it_is_stopped() {
    for (signal, code) in [(Signal::INT, 0), (Signal::TERM, 0), (Signal::QUIT, 131)] {
        let mut cluster = Cluster::start("serve", 3);
        if signal == Signal::QUIT {
            cluster.expect_log("SIGQUIT");
        }
        cluster.signal(signal);
        let story = cluster.ends(code);
        for id in 1..=3 {
            let life = story.life(id);
            let ends = life.iter().filter(|event| **event == "exit").count();
            let told = story
                .log()
                .filter(|line| line.contains(&format!("worker {id} (")) && line.contains("after"))
                .count();
            assert_eq!((ends, told), (1, 1), "{signal:?}: {story}");
        }
    }
}

/// Mutation: exit where the body returns; skip `on_exit` at a stop.
#[test]
fn p49_what_a_body_leaves_is_dropped_and_what_follows_the_cluster_runs() {
    let mut cluster = Cluster::of("guards").start();
    cluster.up(2);
    cluster.signal(Signal::TERM);
    let story = cluster.ends(0);
    for line in ["dropped in worker 1", "dropped in worker 2", "dropped in the primary"] {
        let times =
            story.events().filter(|event| matches!(event, cluster_tests::Event::Said(said) if said == line));
        assert_eq!(times.count(), 1, "{line}: {story}");
    }
    assert_eq!(story.exits().count(), 2, "{story}");
}

/// Mutation: wait for workers that are not ready before anything is stopped.
#[test]
fn p58_a_stop_wins_over_workers_that_are_not_ready() {
    for (signal, code) in [(Signal::TERM, 0), (Signal::INT, 0), (Signal::QUIT, 131)] {
        let mut cluster = Cluster::of("serve").workers(4).start();
        if signal == Signal::QUIT {
            cluster.expect_log("SIGQUIT");
        }
        // The primary hears signals from before its first birth.
        cluster.fork(1);
        cluster.signal(signal);
        let story = cluster.ends(code);
        assert_eq!(story.forks().count(), story.exits().count(), "{signal:?}: {story}");
    }
}

/// Mutation: keep a stop's first signal for the second one's; wait for a worker that does not hear.
#[test]
fn p58_a_stop_at_once_wins_over_a_drain() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let mut cluster = Cluster::of("stubborn").workers(2).start();
        cluster.said("body 1");
        cluster.said("body 2");
        cluster.signal(Signal::TERM);
        cluster.said("told 1");
        cluster.said("told 2");
        cluster.expect_log("stopped at once by");
        cluster.expect_log("SIGKILL");
        let began = Instant::now();
        cluster.signal(signal);
        cluster.ends(128 + signal.as_raw());
        assert!(began.elapsed() < Duration::from_secs(10), "{signal:?}");
    }
}
