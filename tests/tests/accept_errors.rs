//! accept(2) fails: the primary neither spins nor parks nor ends, and recovers by itself.

use std::process as this;
use std::time::{Duration, Instant};
use std::{env, fs};

use cluster_tests::client::{Connection, Outcome, ask};
use cluster_tests::{Cluster, Signal, can_inject, process};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
const A_WHILE: Duration = Duration::from_secs(2);

/// The primary uses at most a twentieth of a core during a while: in the third one at the latest, since on a slow machine it may
/// still be at work in the first on what has just come.
fn is_calm(cluster: &mut Cluster) {
    let primary = cluster.pid();
    let mut used = A_WHILE;
    for _ in 0..3 {
        let before = process::processor_time(primary);
        cluster.listen_for(A_WHILE);
        used = used.min(process::processor_time(primary) - before);
        if used < A_WHILE / 20 {
            return;
        }
    }
    cluster.fail(&format!("the primary is not calm, it used {used:?} in {A_WHILE:?}"));
}

/// Mutation: retry accept at once after EMFILE; log each failure; never try again.
#[test]
fn s28_a_primary_without_descriptors_waits_and_recovers() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let primary = cluster.pid();
    process::limit_descriptors(primary, process::next_descriptor(primary));
    let mut clients: Vec<_> = (0..20).map(|_| Connection::to(&address)).collect();
    for client in &mut clients {
        client.write(GET).expect("write a request");
    }
    cluster.expect_log("Too many open files");
    cluster.logged("Too many open files");
    is_calm(&mut cluster);
    process::limit_descriptors(primary, 1024);
    let began = Instant::now();
    for client in &mut clients {
        let _ = client.read_to_end().reply();
    }
    let took = began.elapsed();
    cluster.check(took < Duration::from_secs(8), &format!("recovery soon, it took {took:?}"));
    let story = cluster.stop();
    let lines = story.log().filter(|line| line.contains("Too many open files")).count();
    assert_eq!(lines, 1, "one line an episode: {story}");
}

/// Mutation: let a worker receive beyond its limit; let the primary accept what no worker has room for.
#[test]
fn s28_two_hundred_clients_hold_on_to_a_cluster_of_64_descriptors() {
    let mut cluster = Cluster::of("serve").workers(2).after("ulimit -n 64").start();
    let address = cluster.up(2);
    let mut clients = Vec::new();
    // The first half fills the workers, and may go to them before they have said so. Whoever comes later is left in
    // the backlog.
    for _ in 0..2 {
        for _ in 0..100 {
            let mut client = Connection::to(&address);
            // Kept alive: the client decides when the worker gets its descriptor back.
            client.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").expect("write a request");
            clients.push(client);
        }
        is_calm(&mut cluster);
    }
    // Some were answered, others wait; nobody was turned away.
    let mut answered = 0;
    for client in &mut clients {
        client.patience(Duration::from_millis(1));
        match client.read_reply() {
            Outcome::Answered(_) => answered += 1,
            Outcome::TimedOut => {}
            harm => cluster.fail(&format!("a client that waits was harmed: {harm:?}")),
        }
    }
    cluster.check((10..190).contains(&answered), &format!("some to be served, not {answered}"));
    drop(clients);
    let began = Instant::now();
    for _ in 0..20 {
        ask(&address, "/");
    }
    let took = began.elapsed();
    cluster.check(took < Duration::from_secs(8), &format!("recovery soon, it took {took:?}"));
    cluster.stop();
}

/// Mutation: close the listener at the first error of accept, or stop accepting from it for good.
#[test]
fn n01_a_failing_accept_is_passed_over_and_the_server_closes_cleanly() {
    if !can_inject() {
        return;
    }
    let trace = env::temp_dir().join(format!("cluster-n01-{}", this::id()));
    let mut cluster = Cluster::of("serve")
        .workers(2)
        .inject("accept4:error=ECONNABORTED:when=1..3", &trace.display().to_string())
        .start();
    let address = cluster.up(2);
    let mut clients: Vec<_> = (0..4).map(|_| Connection::to(&address)).collect();
    for client in &mut clients {
        client.write(GET).expect("write a request");
    }
    // Each is answered and closed, and nothing is kept of it: the audit counts the primary's descriptors.
    for client in &mut clients {
        assert_eq!(client.read_to_end().reply().status, 200);
    }
    cluster.stop();
    let injected = fs::read_to_string(&trace).unwrap_or_default().matches("(INJECTED)").count();
    assert_eq!(injected, 3, "three times it failed");
    fs::remove_file(&trace).expect("remove the trace");
}

/// Mutation: end the loop on an error of accept that is not EAGAIN.
#[test]
fn s28_each_error_of_accept_is_survived() {
    if !can_inject() {
        return;
    }
    for error in
        ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPROTO", "EPERM", "EINTR", "ENETDOWN"]
    {
        let trace = env::temp_dir().join(format!("cluster-s28-{}-{error}", this::id()));
        let fault = format!("accept4:error={error}:when=1+3");
        let mut cluster =
            Cluster::of("serve").workers(2).inject(&fault, &trace.display().to_string()).start();
        let address = cluster.up(2);
        for _ in 0..6 {
            assert_eq!(ask(&address, "/").status, 200, "{error}");
        }
        cluster.expect_log("cluster[");
        cluster.stop();
        let injected = fs::read_to_string(&trace).unwrap_or_default().matches("(INJECTED)").count();
        assert!(injected > 0, "nothing was injected for {error}");
        fs::remove_file(&trace).expect("remove the trace");
    }
}

/// Mutation: take a shortage for an empty backlog, and close.
#[test]
fn s28_a_stop_without_descriptors_hands_over_the_backlog_when_it_has_some_again() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let primary = cluster.pid();
    process::limit_descriptors(primary, process::next_descriptor(primary));
    let mut clients: Vec<_> = (0..20).map(|_| Connection::to(&address)).collect();
    for client in &mut clients {
        client.write(GET).expect("write a request");
    }
    cluster.expect_log("Too many open files");
    cluster.logged("Too many open files");
    cluster.signal(Signal::TERM);
    cluster.logged("which is to be closed");
    process::limit_descriptors(primary, 1024);
    for client in &mut clients {
        assert_eq!(client.read_to_end().reply().status, 200);
    }
    cluster.ends(0);
}

/// Mutation: try again until `drain_timeout` is over, although nobody waits.
#[test]
fn s28_a_stop_without_descriptors_and_without_clients_waits_for_nobody() {
    let mut cluster = Cluster::start("serve", 2);
    cluster.up(2);
    let primary = cluster.pid();
    process::limit_descriptors(primary, process::next_descriptor(primary));
    let began = Instant::now();
    cluster.signal(Signal::TERM);
    cluster.ends(0);
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
}
