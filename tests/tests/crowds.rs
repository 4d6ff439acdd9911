//! Many clients, bad clients, and workers that stand still or die all at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cluster_tests::client::{Connection, Outcome, ask, attempt};
use cluster_tests::faults::Fault;
use cluster_tests::load::Load;
use cluster_tests::{Cluster, Signal, can_inject, process};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

fn stop(cluster: &mut Cluster, id: u64) {
    cluster.signal_worker(id, Signal::STOP);
    let pid = cluster.fork(id).pid;
    cluster.eventually("the worker to stop", || process::state(pid).is_some_and(|(state, _)| state == 'T'));
}

/// Closes with a reset instead of an end.
fn reset(client: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).expect("not to linger");
    drop(client);
}

/// Mutation: close the listeners, or drop what waits on the lanes, when nobody is left.
#[test]
fn g3_all_workers_are_killed_at_once_and_whoever_came_is_served_by_their_successors() {
    const CLIENTS: usize = 8;
    let mut cluster = Cluster::start("serve", 3);
    let address = cluster.up(3);
    cluster.expect_log("SIGKILL");
    let load = Load::on(&address, CLIENTS);
    load.served(50);
    let rounds = 5;
    for _ in 0..rounds {
        let all = cluster.story().listening();
        for id in &all {
            cluster.signal_worker(*id, Signal::KILL);
        }
        for id in all {
            cluster.exit(id);
        }
        cluster.up(3);
        load.served(50);
    }
    let tally = load.stop();
    cluster
        .check(tally.refused + tally.timeout + tally.wrong == 0, &format!("nobody turned away: {tally:?}"));
    // Each client has one request at a time, and the killed may have begun with it.
    cluster.check(tally.harmed() <= rounds * CLIENTS, &format!("what was begun, at most: {tally:?}"));
    // The audit: nothing of all that is left in the primary.
    cluster.stop();
}

/// Those who come while nobody is there: none of them is lost. Mutation: as above; accept what nobody has room for.
#[test]
fn g3_a_crowd_that_comes_while_nobody_is_there_waits_and_is_served() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    cluster.expect_log("SIGKILL");
    // Nobody reads: what comes first waits on the lanes, and what does not fit in the backlog.
    stop(&mut cluster, 1);
    stop(&mut cluster, 2);
    let mut clients: Vec<_> = (0..800).map(|_| Connection::to(&address)).collect();
    clients.iter_mut().for_each(|client| client.write(GET).expect("write a request"));
    cluster.signal_worker(1, Signal::KILL);
    cluster.signal_worker(2, Signal::KILL);
    for client in &mut clients {
        assert!(client.read_to_end().reply().worker() > 2);
    }
    cluster.up(2);
    cluster.stop();
}

/// Mutation: wait for a lane that is full instead of passing it over; leave to who stands still what it has not read.
#[test]
fn g6_a_worker_that_stands_still_holds_nobody_up_and_the_others_serve_on() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    stop(&mut cluster, 2);
    let mut waiting = Vec::new();
    for _ in 0..1000 {
        let mut client = Connection::to(&address);
        client.write(GET).expect("write a request");
        waiting.push(client);
    }
    for client in &mut waiting {
        assert_eq!(client.read_to_end().reply().worker(), 1);
    }
    let slowest = (0..200).map(|_| {
        let began = Instant::now();
        assert_eq!(ask(&address, "/").worker(), 1);
        began.elapsed()
    });
    let slowest = slowest.max().unwrap_or_default();
    cluster.check(slowest < Duration::from_secs(5), &format!("the other to serve as ever: {slowest:?}"));
    cluster.signal_worker(2, Signal::CONT);
    cluster.eventually("its share", || ask(&address, "/").worker() == 2);
    cluster.stop();
}

/// Mutation: keep the primary's copy of a connection that was handed off.
#[test]
fn p148_ten_thousand_short_connections_leave_the_primary_as_it_was() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let before = process::descriptors(cluster.pid()).len();
    let load = Load::on(&address, 4);
    let mut most = 0;
    for _ in 0..100 {
        load.served(100);
        most = process::descriptors(cluster.pid()).len().max(most);
    }
    let tally = load.stop();
    cluster.check(tally.harmed() + tally.refused == 0, &format!("{tally:?}"));
    // Those which are on their way, at most one of each client.
    cluster.check(most <= before + 4, &format!("{before} descriptors before, and {most} meanwhile"));
    cluster.stop();
}

/// The primary still has its copy while a worker ends the connection: it is ended for the client all the same.
///
/// Mutation: close a connection of the server without shutting it down.
#[test]
fn p148_what_a_worker_ends_has_ended_though_the_primary_stands_still() {
    if !can_inject() {
        return;
    }
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let slow = Fault::attach(cluster.pid(), "close:delay_enter=6000000");
    let began = Instant::now();
    let mut client = Connection::to(&address);
    client.write(GET).expect("write a request");
    let _ = client.read_to_end().reply();
    let took = began.elapsed();
    let copies = process::held(cluster.pid(), std::slice::from_ref(&address)).expect("the primary").ports;
    cluster.check(copies == [client.port()], &format!("the primary to have its copy still, not {copies:?}"));
    cluster.check(took < Duration::from_secs(4), &format!("the end at once, not after {took:?}"));
    drop(slow);
    let mut held = Connection::to(&address);
    held.begin();
    let primary = cluster.pid();
    cluster.signal(Signal::STOP);
    cluster
        .eventually("the primary to stop", || process::state(primary).is_some_and(|(state, _)| state == 'T'));
    let _ = held.finish().reply();
    cluster.signal(Signal::CONT);
    cluster.stop();
}

/// Mutation: count a connection that is reset before its first byte for ever.
#[test]
fn p40_after_thousands_of_clients_of_each_kind_nothing_is_counted_as_open() {
    let mut cluster = Cluster::of("serve").workers(1).env("CLUSTER_MAX_CONNECTIONS", 3).start();
    let address = cluster.up(1);
    for n in 0..3000 {
        let mut client = TcpStream::connect(&address).expect("connect");
        match n % 5 {
            0 => {}
            1 => reset(client),
            2 => {
                client.write_all(b"GET / HT").expect("write a part");
                reset(client);
            }
            3 => {
                client.write_all(GET).expect("write a request");
                reset(client);
            }
            _ => {
                client.write_all(GET).expect("write a request");
                client.read_to_end(&mut Vec::new()).expect("read an answer");
            }
        }
    }
    // Three at a time, still: neither more nor less.
    let mut held: Vec<_> = (0..3).map(|_| Connection::to(&address)).collect();
    held.iter_mut().for_each(Connection::begin);
    let mut fourth = Connection::to(&address);
    fourth.write(GET).expect("write a request");
    fourth.patience(Duration::from_millis(200));
    assert_eq!(fourth.read_to_end(), Outcome::TimedOut, "a fourth waits");
    held.iter_mut().for_each(|held| drop(held.finish().reply()));
    fourth.patience(Duration::from_secs(10));
    let _ = fourth.read_to_end().reply();
    // And nothing that its end would wait for.
    let began = Instant::now();
    cluster.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "the end waits for somebody who has gone");
}

/// Mutation: accept what no worker has room for, and drop it; count one more or one less.
#[test]
fn p137_of_twelve_clients_three_are_served_at_a_time_and_nobody_is_turned_away() {
    let mut cluster = Cluster::of("serve").workers(1).env("CLUSTER_MAX_CONNECTIONS", 3).start();
    let address = cluster.up(1);
    let mut clients: Vec<_> = (0..12).map(|_| Connection::to(&address)).collect();
    let (served, waiting) = clients.split_at_mut(3);
    served.iter_mut().for_each(Connection::begin);
    waiting.iter_mut().for_each(|client| client.write(GET).expect("write a request"));
    for client in &mut *waiting {
        client.patience(Duration::from_millis(20));
        assert_eq!(client.read_to_end(), Outcome::TimedOut, "nobody has room for it");
    }
    served.iter_mut().for_each(|client| assert_eq!(client.finish().reply().status, 200));
    for client in waiting {
        client.patience(Duration::from_secs(10));
        assert_eq!(client.read_to_end().reply().status, 200);
    }
    cluster.stop();
}

/// Mutation: end a worker, or log an error, for a client that has gone.
#[test]
fn p140_clients_that_break_off_in_any_phase_harm_themselves_alone() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let load = Load::on(&address, 2);
    let parts: [&[u8]; 4] =
        [b"", b"GET / HTTP/1.1\r\n", b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nab", GET];
    for round in 0..25 {
        for part in parts {
            for how in 0..3 {
                let mut client = TcpStream::connect(&address).expect("connect");
                client.write_all(part).expect("write a part");
                match how {
                    0 => drop(client),
                    1 => reset(client),
                    _ => {
                        client.shutdown(std::net::Shutdown::Write).expect("end this side");
                        let mut answer = Vec::new();
                        // An answer, or none, and in any case an end.
                        let _ = client.read_to_end(&mut answer);
                        let wanted = part == GET;
                        assert!(
                            !wanted || answer.starts_with(b"HTTP/1.1 200"),
                            "half closed in round {round}"
                        );
                    }
                }
            }
        }
    }
    // One byte after the other, each in a packet of its own.
    let mut slow = Connection::to(&address);
    GET.iter().for_each(|byte| slow.write(&[*byte]).expect("write a byte"));
    assert_eq!(slow.read_to_end().reply().status, 200);
    let tally = load.stop();
    cluster.check(tally.harmed() + tally.refused == 0, &format!("nobody else noticed: {tally:?}"));
    // The audit: nothing in the log, nothing left. They are the workers of the beginning.
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 2, "{story}");
}

/// Mutation: take the first error of a received connection for the server's.
#[test]
fn p143_a_client_that_is_gone_before_its_worker_looks_is_passed_over() {
    let mut cluster = Cluster::start("serve", 1);
    let address = cluster.up(1);
    stop(&mut cluster, 1);
    for n in 0..100 {
        let mut client = TcpStream::connect(&address).expect("connect");
        if n % 2 == 0 {
            client.write_all(GET).expect("write a request");
        }
        reset(client);
    }
    cluster.signal_worker(1, Signal::CONT);
    assert_eq!(ask(&address, "/").worker(), 1);
    assert!(matches!(attempt(&address, "/"), Outcome::Answered(_)));
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 1, "{story}");
}

/// Mutation: accept until there is nothing left before anything else has its turn.
#[test]
fn s29_a_flood_of_connections_delays_nothing_else() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    cluster.expect_log("SIGKILL");
    let load = Load::on(&address, 8);
    load.served(100);
    let began = Instant::now();
    cluster.signal_worker(1, Signal::KILL);
    cluster.exit(1);
    let told = began.elapsed();
    cluster.check(told < Duration::from_secs(8), &format!("an end to be told at once, not after {told:?}"));
    cluster.up(2);
    load.served(100);
    let began = Instant::now();
    cluster.signal(Signal::TERM);
    cluster.logged("SIGTERM: stopping");
    let heard = began.elapsed();
    cluster
        .check(heard < Duration::from_secs(8), &format!("a signal to be heard at once, not after {heard:?}"));
    load.refused(1);
    drop(load.stop());
    cluster.ends(0);
}
