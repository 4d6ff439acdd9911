//! Sockets of `cluster::net`: how connections come, and how their workers end.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::Duration;

use cluster_tests::client::Connection;
use cluster_tests::control::{Client, Control, meet};
use cluster_tests::{Cluster, Signal};

/// Mutation: let the lane's end be an error of `accept`; count lanes of `cluster::net` as somebody who ends by himself;
/// do not count connections.
#[test]
fn n66_a_loop_that_only_accepts_ends_with_its_last_connection() {
    let mut cluster = Cluster::start("net_echo", 2);
    let address = cluster.up(2);
    let mut clients = meet(&address, 4, &[1, 2]);
    cluster.signal(Signal::TERM);
    cluster.logged("SIGTERM: stopping");
    for client in &mut clients {
        client.echoes("still here");
    }
    cluster.check(cluster.story().exits().count() == 0, "both workers to stay while they are busy");
    clients.into_iter().for_each(Client::end);
    let story = cluster.ends(0);
    assert_eq!(story.exits().filter(|exit| exit.code == Some(0) && exit.voluntary).count(), 2, "{story}");
}

/// Mutation: end `incoming()` with an error, or not at all.
#[test]
fn n66_incoming_ends_and_main_returns_when_it_likes() {
    let mut cluster = Cluster::start("net_incoming", 2);
    let address = cluster.up(2);
    let mut held = Client::to(&address);
    cluster.signal(Signal::TERM);
    cluster.said("incoming 1 ended");
    cluster.said("incoming 2 ended");
    held.echoes("still here");
    held.end();
    let story = cluster.ends(0);
    assert!(story.said("finished 1") && story.said("finished 2"), "{story}");
}

/// Mutation: do not count a lane that has ended.
#[test]
fn n66_the_shutdown_signal_lets_main_return() {
    let mut cluster = Cluster::start("net_signal", 2);
    let address = cluster.up(2);
    Client::to(&address).end();
    cluster.signal(Signal::TERM);
    cluster.said("signalled 1");
    cluster.said("signalled 2");
    cluster.ends(0);
}

/// Mutation: leave the file.
#[test]
fn n31_a_unix_socket_serves_and_its_file_goes() {
    let path = std::env::temp_dir().join(format!("cluster-n31-{}.sock", std::process::id()));
    let address = format!("unix:{}", path.display());
    let mut cluster = Cluster::of("net_echo").workers(2).bind(&address).start();
    cluster.up(2);
    let mut connection = Connection::to(&address);
    connection.write(b"hello").expect("write");
    connection.half_close();
    cluster.check(connection.is_closed_within(Duration::from_secs(10)), "the connection to end");
    cluster.stop();
    assert!(!path.exists());
}

fn controlled(workers: usize) -> (Cluster, Vec<Control>) {
    let mut cluster = Cluster::of("net_control").workers(workers).start();
    let controls = (1..=workers as u64).map(|id| Control::of(&mut cluster, id)).collect();
    (cluster, controls)
}

/// Mutation: let a worker that has accepted everything stay until its time to drain is over.
#[test]
fn n66_who_comes_while_both_workers_leave_is_served_or_closed() {
    for _ in 0..5 {
        let (mut cluster, mut workers) = controlled(2);
        // That some were accepted when the last worker had left may be told, and they are closed.
        cluster.expect_log("cluster[");
        let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
        workers[1].serves(&mut cluster, "tcp a 127.0.0.1:0");
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let address = address.clone();
                // A client that nobody serves, and nobody closes, fails the test.
                std::thread::spawn(move || while Client::try_to(&address).is_some() {})
            })
            .collect();
        for worker in &mut workers {
            worker.does("disconnect");
        }
        let fine = clients.into_iter().all(|client| client.join().is_ok());
        cluster.check(fine, "each client to be served or closed");
        let story = cluster.ends(0);
        assert_eq!(story.exits().filter(|exit| exit.code == Some(0)).count(), 2, "{story}");
    }
}

/// Mutation: let a worker that holds a listener stay when it is told to leave.
#[test]
fn n20_a_worker_leaves_that_holds_a_listener() {
    let (mut cluster, mut workers) = controlled(2);
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    workers[1].serves(&mut cluster, "tcp a 127.0.0.1:0");
    Client::to(&address).end();
    workers[0].does("disconnect");
    let exit = cluster.exit(1);
    assert_eq!((exit.code, exit.voluntary), (Some(0), true));
    assert_eq!(Client::to(&address).worker, 2);
    cluster.stop();
}

/// Mutation: as above; have the second one's leave meet a listener that is half gone.
#[test]
fn n21_two_workers_leave_at_once() {
    let (mut cluster, mut workers) = controlled(2);
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    workers[1].serves(&mut cluster, "tcp a 127.0.0.1:0");
    drop(meet(&address, 2, &[1, 2]));
    let threads: Vec<_> =
        workers.into_iter().map(|mut worker| std::thread::spawn(move || worker.does("disconnect"))).collect();
    for (id, thread) in (1..).zip(threads) {
        thread.join().expect("it was told");
        assert_eq!(cluster.exit(id).code, Some(0));
    }
    cluster.ends(0);
}

/// Mutation: have a worker that leaves close what it never had.
#[test]
fn n22_a_worker_that_never_bound_leaves_while_another_serves() {
    let (mut cluster, mut workers) = controlled(2);
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    workers[1].does("disconnect");
    assert_eq!(cluster.exit(2).code, Some(0));
    assert_eq!(Client::to(&address).worker, 1);
    cluster.stop();
}

/// Mutation: end a worker that has connections; or never.
#[test]
fn r01_the_end_waits_for_twelve_connections_of_three_workers() {
    let mut cluster = Cluster::start("net_echo", 3);
    let address = cluster.up(3);
    let mut clients: Vec<Client> = Vec::new();
    // By turns each has four, but for those that were kept from their processors.
    cluster.eventually("two for each of twelve", || {
        clients.push(Client::to(&address));
        let of = |id| clients.iter().filter(|client| client.worker == id).count();
        clients.len() >= 12 && (1..=3).all(|id| of(id) >= 2)
    });
    cluster.signal(Signal::TERM);
    cluster.logged("SIGTERM: stopping");
    // Two of each stay.
    let held: Vec<_> = [1, 2, 3, 1, 2, 3]
        .map(|id| {
            let its = clients.iter().position(|client| client.worker == id);
            clients.swap_remove(its.expect("each to have had its turns"))
        })
        .into();
    clients.into_iter().for_each(Client::end);
    cluster.listen_for(Duration::from_millis(300));
    let early = cluster.story().exits().count();
    cluster.check(early == 0, "three workers that have two connections each to stay");
    held.into_iter().for_each(Client::end);
    let story = cluster.ends(0);
    assert_eq!(story.exits().filter(|exit| exit.code == Some(0)).count(), 3, "{story}");
}

/// Mutation: give back a connection's place when it is accepted; or never.
#[test]
fn r04_each_connection_that_ends_leaves_room_for_exactly_one() {
    let mut cluster = Cluster::of("net_echo").workers(1).env("CLUSTER_MAX_CONNECTIONS", 12).start();
    let address = cluster.up(1);
    let (served, serving) = mpsc::channel();
    for _ in 0..24 {
        let (served, address) = (served.clone(), address.clone());
        std::thread::spawn(move || served.send(Client::to(&address)));
    }
    let next = || serving.recv_timeout(Duration::from_secs(9)).expect("one more is served");
    let mut open: VecDeque<Client> = (0..12).map(|_| next()).collect();
    for _ in 0..12 {
        assert!(serving.recv_timeout(Duration::from_millis(20)).is_err(), "twelve at once");
        open.pop_front().expect("the oldest").end();
        open.push_back(next());
    }
    drop(open);
    cluster.stop();
}

/// Mutation: lose, double or mix up bytes or connections.
#[test]
fn r56_fifty_clients_with_three_connections_of_forty_kilobytes_each() {
    const SIZE: usize = 40 * 1024;
    let mut cluster = Cluster::start("net_echo", 2);
    let address = cluster.up(2);
    let clients: Vec<_> = (0..50usize)
        .map(|n| {
            let address = address.clone();
            std::thread::spawn(move || {
                let mut workers = Vec::new();
                for connection in 0..3 {
                    let mut client = Client::to(&address);
                    let text: String = (0..SIZE)
                        .map(|at| char::from(b'a' + ((n * 7 + connection + at) % 26) as u8))
                        .collect();
                    text.as_bytes().chunks(8 * 1024).for_each(|chunk| {
                        client.echoes(std::str::from_utf8(chunk).expect("letters"));
                    });
                    workers.push(client.worker);
                    client.end();
                }
                workers
            })
        })
        .collect();
    let served: Vec<u64> = clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
    let of = |id: u64| served.iter().filter(|worker| **worker == id).count();
    // Of so many at once any may wait for a worker longer than they are left to it, and are served by the other one.
    assert_eq!(of(1) + of(2), 150, "{} and {}", of(1), of(2));
    meet(&address, 2, &[1, 2]).into_iter().for_each(Client::end);
    cluster.stop();
}
