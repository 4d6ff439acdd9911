//! UDP: one socket for all workers that ask for the same.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use cluster_tests::control::Control;
use cluster_tests::{Cluster, Event, Signal};

fn controlled(workers: usize) -> (Cluster, Vec<Control>) {
    let mut cluster = Cluster::of("net_control").workers(workers).start();
    let controls = (1..=workers as u64).map(|id| Control::of(&mut cluster, id)).collect();
    (cluster, controls)
}

fn client(address: &str) -> UdpSocket {
    let own = if address.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
    let socket = UdpSocket::bind(own).expect("bind");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set a timeout");
    socket
}

/// The worker that answers.
#[track_caller]
fn ask(address: &str) -> u64 {
    let socket = client(address);
    socket.send_to(b"hello", address).expect("send");
    let mut answer = [0; 128];
    let read = socket.recv(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.ends_with("body hello"), "{answer}");
    answer.split(' ').nth(1).and_then(|id| id.parse().ok()).expect("which worker")
}

fn on_loopback(address: &str, ip: &str) -> String {
    format!("{ip}:{}", address.rsplit(':').next().expect("a port"))
}

/// Mutation: bind a socket for each worker; do not announce it.
#[test]
fn n11_four_workers_share_a_socket_and_each_can_receive() {
    let (mut cluster, mut workers) = controlled(4);
    let addresses: Vec<_> = workers.iter_mut().map(|worker| worker.does("udp a 127.0.0.1:0")).collect();
    assert!(addresses.iter().all(|address| *address == addresses[0]), "{addresses:?}");
    for id in 1..=4 {
        assert_eq!(cluster.listening(id), format!("udp:{}", addresses[0]));
    }
    for receiver in 1..=4 {
        for other in (1..=4).filter(|other| *other != receiver) {
            cluster.stop_worker(other);
        }
        let mut counts = BTreeMap::<u64, usize>::new();
        for _ in 0..10 {
            *counts.entry(ask(&addresses[0])).or_default() += 1;
        }
        assert_eq!(counts, BTreeMap::from([(receiver, 10)]));
        for other in 1..=4 {
            cluster.signal_worker(other, Signal::CONT);
        }
    }
    let story = cluster.stop();
    assert!(story.exits().all(|exit| exit.code == Some(0)), "{story}");
}

/// Mutation: hand out a socket that can't send.
#[test]
fn n12_four_workers_send() {
    let (cluster, mut workers) = controlled(4);
    let here = client("127.0.0.1:0");
    let order = format!("send - {} 10", here.local_addr().expect("an address"));
    let mut counts = BTreeMap::<u64, usize>::new();
    for worker in &mut workers {
        worker.does(&order);
        for _ in 0..10 {
            let mut text = [0; 128];
            let read = here.recv(&mut text).expect("a datagram");
            let text = String::from_utf8_lossy(&text[..read]).into_owned();
            let id = text.split(' ').nth(1).and_then(|id| id.parse().ok()).expect("which worker");
            *counts.entry(id).or_default() += 1;
        }
    }
    assert_eq!(counts, BTreeMap::from([(1, 10), (2, 10), (3, 10), (4, 10)]));
    cluster.stop();
}

/// Mutation: keep the key of a socket that was dropped as taken.
#[test]
fn n07_a_port_of_the_kernels_choice_again_and_again() {
    let (cluster, mut workers) = controlled(1);
    for _ in 0..4 {
        let address = workers[0].does("udp a 127.0.0.1:0");
        assert_eq!(ask(&address), 1);
        workers[0].does("drop a");
    }
    let (first, second) = (workers[0].does("udp a 127.0.0.1:0"), workers[0].does("udp b 127.0.0.1:0"));
    assert_ne!(first, second);
    assert_eq!((ask(&first), ask(&second)), (1, 1));
    cluster.stop();
}

/// Mutation: read the descriptor's kind as a stream's; take a socket for another.
#[test]
fn n13_a_socket_that_the_program_was_started_with() {
    let given = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let address = given.local_addr().expect("an address").to_string();
    let mut cluster = Cluster::of("net_control").workers(2).given(given).start();
    for id in 1..=2 {
        let mut worker = Control::of(&mut cluster, id);
        assert_eq!(worker.does("udp-fd a 3"), address);
        worker.fails("tcp-fd b 3", "InvalidInput 22");
        assert_eq!(ask(&address), id);
        worker.does("drop a");
    }
    cluster.stop();
}

/// Mutation: as N13: the descriptor is duplicated into the child.
#[test]
fn r37_a_given_socket_is_read_by_whoever_comes_first() {
    let given = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let address = given.local_addr().expect("an address").to_string();
    let mut cluster = Cluster::of("net_control").workers(2).given(given).start();
    let mut workers: Vec<_> = (1..=2).map(|id| Control::of(&mut cluster, id)).collect();
    for worker in &mut workers {
        worker.does("udp-fd a 3");
    }
    for stopped in [1, 2] {
        cluster.stop_worker(stopped);
        assert_eq!(ask(&address), 3 - stopped);
        cluster.signal_worker(stopped, Signal::CONT);
    }
    cluster.stop();
}

/// Mutation: ignore `ipv6_only`.
#[test]
fn n14_ipv6_alone_leaves_the_port_of_ipv4_to_others() {
    let (cluster, mut workers) = controlled(2);
    let six = workers[0].does("udp a [::]:0 ipv6_only=true");
    assert_eq!(workers[1].does("udp a [::]:0 ipv6_only=true"), six);
    let four = on_loopback(&six, "127.0.0.1");
    assert_eq!(workers[1].does(&format!("udp b {four}")), four);
    assert_eq!(ask(&four), 2);
    ask(&on_loopback(&six, "[::1]"));
    cluster.stop();
}

/// Mutation: have the primary bind it, who would refuse the second.
#[test]
fn n15_two_of_one_port_in_one_worker() {
    let (cluster, mut workers) = controlled(1);
    let address = workers[0].does("udp a 127.0.0.1:0 reuse_port");
    assert_eq!(workers[0].does(&format!("udp b {address} reuse_port")), address);
    assert_eq!(ask(&address), 1);
    cluster.stop();
}

/// Mutation: as above.
#[test]
fn n16_reuse_port_binds_in_the_worker() {
    let (cluster, mut workers) = controlled(2);
    let address = workers[0].does("udp a 127.0.0.1:0 reuse_port");
    assert_eq!(workers[1].does(&format!("udp a {address} reuse_port")), address);
    assert_eq!((0..64).map(|_| ask(&address)).collect::<std::collections::BTreeSet<_>>().len(), 2);
    let story = cluster.stop();
    assert!(!story.events().any(|event| matches!(event, Event::Listening { .. })), "{story}");
}

/// Mutation: have a worker that leaves close what it never had.
#[test]
fn n23_a_worker_that_never_bound_leaves_while_another_receives() {
    let (mut cluster, mut workers) = controlled(3);
    let address = workers[0].does("udp a 127.0.0.1:0");
    workers[1].does("disconnect");
    assert_eq!(cluster.exit(2).code, Some(0));
    assert_eq!(ask(&address), 1);
    assert_eq!(workers[2].does("udp a 127.0.0.1:0"), address, "it is still the same one");
    cluster.stop();
}

/// Mutation: forget all holders of a socket when one drops it.
#[test]
fn n57_one_closes_and_binds_again_while_another_receives() {
    let (cluster, mut workers) = controlled(2);
    let address = workers[0].does("udp a 127.0.0.1:0");
    for _ in 0..3 {
        assert_eq!(workers[1].does("udp a 127.0.0.1:0"), address);
        ask(&address);
        workers[1].does("drop a");
        assert_eq!(ask(&address), 1);
    }
    let story = cluster.stop();
    assert!(story.exits().all(|exit| exit.code == Some(0)), "{story}");
}

/// Mutation: keep what nobody waits for; report another error than the kernel's; share what is exclusive.
#[test]
fn r57_errors_cancelled_binds_and_exclusive_ones_are_those_of_tcp() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let taken = taken.local_addr().map(|address| (taken, address)).expect("an address");
    let (mut cluster, mut workers) = controlled(2);
    for worker in &mut workers {
        worker.fails(&format!("udp a {}", taken.1), "AddrInUse 98");
    }
    let address = workers[0].does("udp a 127.0.0.1:0");
    let again = format!("udp b {address}");
    workers[0].fails(&again, "AddrInUse 98");
    workers[1].fails(&format!("{again} exclusive"), "AddrInUse 98");
    workers[0].does("drop a");
    workers[0].does(&format!("ask-udp - {address}"));
    cluster.eventually("the port to be free", || UdpSocket::bind(&address).is_ok());
    let other = workers[0].does("udp c 127.0.0.1:0 exclusive");
    assert_ne!(other, workers[1].does("udp c 127.0.0.1:0 exclusive"));
    cluster.stop();
}
