//! Workers that accept by themselves: all from one socket (`shared`), or each slot from its own (`reuseport`).

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;
use std::{env, process};

use cluster_tests::client::{Connection, Outcome, ask, attempt};
use cluster_tests::control::{Client, Control};
use cluster_tests::load::Load;
use cluster_tests::process::{
    descriptors, limit_descriptors, listening_inodes, listening_socket, next_descriptor, processor_time,
    state, waiting,
};
use cluster_tests::upgrades::Disk;
use cluster_tests::{Cluster, Plan, Signal};
use rustix::io::ioctl_fionbio;
use rustix::net::shutdown;

const BOTH: [&str; 2] = ["shared", "reuseport"];

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

fn of(policy: &str) -> Plan {
    Cluster::of("serve").env("CLUSTER_POLICY", policy)
}

/// Has a process stand still, and waits until it does.
fn stand_still(cluster: &mut Cluster, pid: u32) {
    cluster_tests::process::signal(pid, Signal::STOP);
    cluster.eventually("a process that stands still", || state(pid).is_some_and(|(state, _)| state == 'T'));
}

/// Waits until of these clients all have an answer but those who wait in a queue of the kernel's; who waits, and who does not.
fn who_waits(
    cluster: &mut Cluster,
    address: &str,
    clients: Vec<Connection>,
) -> (Vec<Connection>, Vec<Connection>) {
    let has_come = |client: &Connection| {
        client.patience(Duration::from_millis(1));
        client.has_come()
    };
    // Looked at in this order: whoever has no answer by now is in a queue a moment later, or it is looked again.
    cluster.eventually("all others to be answered", || {
        let without = clients.iter().filter(|client| !has_come(client)).count();
        waiting(address) == without
    });
    let (served, waits): (Vec<_>, Vec<_>) = clients.into_iter().partition(has_come);
    served.iter().chain(&waits).for_each(|client| client.patience(Duration::from_secs(10)));
    (waits, served)
}

/// How many of these requests each worker answers.
fn spread(address: &str, requests: usize) -> BTreeMap<u64, usize> {
    (0..requests).fold(BTreeMap::new(), |mut spread, _| {
        *spread.entry(ask(address, "/").worker()).or_default() += 1;
        spread
    })
}

/// Mutation: give no worker a socket, or give it and do not accept from it.
#[test]
fn while_the_primary_stands_still_workers_go_on_accepting() {
    for policy in BOTH {
        let mut cluster = of(policy).workers(3).start();
        let address = cluster.up(3);
        let primary = cluster.pid();
        stand_still(&mut cluster, primary);
        let spread = spread(&address, 300);
        println!("{policy}: {spread:?}");
        if policy == "reuseport" {
            let even = spread.len() == 3 && spread.values().all(|count| *count > 50);
            cluster.check(even, &format!("about a third for each: {spread:?}"));
        }
        cluster.signal(Signal::CONT);
        assert_eq!(listening_inodes(&address).len(), if policy == "shared" { 1 } else { 3 });
        cluster.stop();
    }
}

/// The control: under any other policy nobody is served meanwhile.
#[test]
fn control_without_it_clients_wait_for_the_primary() {
    let mut cluster = Cluster::of("serve").env("CLUSTER_POLICY", "round-robin").workers(2).start();
    let address = cluster.up(2);
    let primary = cluster.pid();
    stand_still(&mut cluster, primary);
    let mut client = Connection::to(&address);
    client.patience(Duration::from_millis(300));
    client.write(GET).expect("write a request");
    assert_eq!(client.read_to_end(), Outcome::TimedOut);
    cluster.signal(Signal::CONT);
    client.patience(Duration::from_secs(10));
    assert_eq!(client.read_to_end().reply().status, 200);
    cluster.stop();
}

/// Clients of a stopped worker wait in its own queue; killed, it takes none of them along. It has made that socket one that blocks.
///
/// Mutation: have the primary not accept from a slot's socket; or close that when its worker is dead; or trust its flags.
#[test]
fn g1_who_waits_for_a_worker_that_is_stopped_and_killed_is_served_by_others() {
    let mut cluster = of("reuseport").workers(2).start();
    let address = cluster.up(2);
    let pid = cluster.fork(1).pid;
    ioctl_fionbio(listening_socket(pid, &address), false).expect("clear O_NONBLOCK");
    stand_still(&mut cluster, pid);
    let mut clients: Vec<_> = (0..32).map(|_| Connection::to(&address)).collect();
    clients.iter_mut().for_each(|client| client.write(GET).expect("write a request"));
    let (waits, served) = who_waits(&mut cluster, &address, clients);
    // The control: had nobody waited, nothing would have been in the queue of the stopped worker.
    assert!(!waits.is_empty() && !served.is_empty(), "{} wait, {} do not", waits.len(), served.len());
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    for mut client in waits {
        assert_ne!(client.read_to_end().reply().worker(), 1);
    }
    for mut client in served {
        assert_eq!(client.read_to_end().reply().worker(), 2);
    }
    cluster.up(2);
    assert_eq!(listening_inodes(&address).len(), 2, "the new worker has the socket of its slot");
    cluster.stop();
}

/// What the primary accepts for a slot that was given up is handed on by turns; and taken back from a worker that does not come to it,
/// however many that has accepted by itself before.
///
/// Mutation: count what a worker has accepted by itself as read from its lane.
#[test]
fn g6_what_was_handed_to_a_busy_worker_is_served_by_one_that_is_free() {
    let mut cluster = of("reuseport").workers(3).start();
    let address = cluster.up(3);
    cluster.signal(Signal::TTOU);
    cluster.up(2);
    spread(&address, 200);
    let pid = cluster.fork(2).pid;
    stand_still(&mut cluster, pid);
    let mut clients: Vec<_> = (0..48).map(|_| Connection::to(&address)).collect();
    clients.iter_mut().for_each(|client| client.write(GET).expect("write a request"));
    // Those in its own queue wait, and in the end nobody else: not those whom the primary had handed to it.
    let (waits, served) = who_waits(&mut cluster, &address, clients);
    cluster.signal_worker(2, Signal::CONT);
    for mut client in waits.into_iter().chain(served) {
        assert_eq!(client.read_to_end().reply().status, 200);
    }
    cluster.stop();
}

/// Its descriptors are gone, taken by something else in it, when the connection comes for which it had room.
///
/// Mutation: rest, and try again, with the room that it had.
#[test]
fn the_queue_of_a_worker_that_has_no_descriptor_left_is_others() {
    let mut cluster = of("reuseport").workers(2).start();
    let address = cluster.up(2);
    let pid = cluster.fork(1).pid;
    cluster.expect_log("accepting: Too many open files");
    // It has opened all that it needs once it has served; and as long as this one is kept, it gives back none of it.
    let mut kept = Connection::to(&address);
    while kept.ask("/").worker() != 1 {
        kept = Connection::to(&address);
    }
    limit_descriptors(pid, next_descriptor(pid));
    let mut clients: Vec<_> = (0..32).map(|_| Connection::to(&address)).collect();
    clients.iter_mut().for_each(|client| client.write(GET).expect("write a request"));
    for client in &mut clients {
        client.patience(Duration::from_secs(5));
        assert_eq!(client.read_to_end().reply().worker(), 2);
    }
    limit_descriptors(pid, 1024);
    cluster.eventually("it to have its share again", || ask(&address, "/").worker() == 1);
    let story = cluster.stop();
    assert_eq!(story.log().filter(|line| line.contains("Too many open files")).count(), 1, "{story}");
}

/// The kernel gives the new socket its share of the clients, whether or not the worker could be given it.
///
/// Mutation: forget a new socket that no descriptor is left to copy for its worker.
#[test]
fn a_slots_socket_that_its_worker_could_not_be_given_is_accepted_from() {
    let mut cluster = Cluster::of("net_control").env("CLUSTER_POLICY", "reuseport").workers(2).start();
    let mut workers = [1, 2].map(|id| Control::of(&mut cluster, id));
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    cluster.expect_log("giving worker 2 a listening socket: Too many open files");
    // When somebody is served the first has its lane, and the primary has closed what went there with the answer.
    Client::to(&address).end();
    let primary = cluster.pid();
    cluster.eventually("the primary to rest", || state(primary).is_some_and(|(state, _)| state == 'S'));
    // Both ends of its lane, a copy of one, and the socket.
    let open: Vec<_> = descriptors(primary).into_iter().map(|(number, _)| u64::from(number)).collect();
    let fifth = (0..).filter(|number| !open.contains(number)).nth(4).expect("a free number");
    limit_descriptors(primary, fifth);
    workers[1].serves(&mut cluster, "tcp a 127.0.0.1:0");
    limit_descriptors(primary, 1024);
    assert_eq!(listening_inodes(&address).len(), 2);
    (0..32).for_each(|_| Client::to(&address).end());
    cluster.stop();
}

/// The control of G1: where each worker has bound a socket of its own, of which the primary knows nothing, its queue dies with it.
#[test]
fn g1_control_a_socket_that_a_worker_alone_has_takes_its_queue_along() {
    let mut cluster = Cluster::of("net_control").workers(2).start();
    let mut workers = [1, 2].map(|id| Control::of(&mut cluster, id));
    let address = workers[0].does("tcp a 127.0.0.1:0 reuse_port");
    workers[1].does(&format!("tcp a {address} reuse_port"));
    let pid = cluster.fork(1).pid;
    stand_still(&mut cluster, pid);
    let clients: Vec<_> = (0..32).map(|_| TcpStream::connect(&address).expect("connect")).collect();
    cluster.eventually("the other's queue to be empty", || waiting(&address) < 32);
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.exit(1);
    let reset = clients.into_iter().filter(|client| {
        client.set_read_timeout(Some(Duration::from_millis(300))).expect("set a timeout");
        let read = (&*client).read(&mut [0; 1]);
        read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    });
    assert!(reset.count() > 0, "somebody is reset");
    cluster.stop();
}

/// Mutation: look only at whether the worker of a slot is dead.
#[test]
fn p32_the_queue_of_a_worker_that_is_silent_is_others() {
    // Half of it, for the word to go on to come in before the worker is told to leave.
    let mut cluster = of("reuseport").workers(2).env("CLUSTER_HEARTBEAT_TIMEOUT", "12s").start();
    let address = cluster.up(2);
    let pid = cluster.fork(1).pid;
    stand_still(&mut cluster, pid);
    let mut clients: Vec<_> = (0..24).map(|_| Connection::to(&address)).collect();
    // All at once: actix waits for a request no longer than five seconds.
    clients.iter_mut().for_each(|client| client.write(GET).expect("write a request"));
    let answers: Vec<_> = clients.iter_mut().map(|client| client.read_to_end().reply().worker()).collect();
    assert_eq!(answers, [2; 24]);
    cluster.logged("it is given nothing more");
    cluster.signal_worker(1, Signal::CONT);
    cluster.logged("gives signs of life again");
    cluster.eventually("it to have its share again", || ask(&address, "/").worker() == 1);
    cluster.stop();
}

/// Reloads, more workers, fewer workers, the end: all without a request that is lost.
///
/// Mutation: close the socket of a slot that is given up; do not accept from it; close the sockets before they are empty.
fn changes_under_load(policy: &str, bind: &str) {
    let mut cluster = of(policy).workers(4).bind(bind).start();
    let address = cluster.up(4);
    let load = Load::mixed(&address, 3, 3);
    load.served(100);
    for generation in 2..=4 {
        cluster.signal(Signal::HUP);
        cluster.said(&format!("reload {generation} ok"));
        load.served(100);
    }
    let steps =
        [(Signal::TTOU, 3), (Signal::TTOU, 2), (Signal::TTOU, 1), (Signal::TTIN, 2), (Signal::TTIN, 3)];
    for (signal, workers) in steps {
        cluster.signal(signal);
        cluster.up(workers);
        load.served(100);
    }
    cluster.signal(Signal::TERM);
    load.refused(10);
    let tally = load.stop();
    cluster.check(tally.harmed() == 0, &format!("nothing lost: {tally:?}"));
    cluster.ends(0);
}

#[test]
fn p60_p76_changes_under_load_lose_nothing_where_all_have_one_socket() {
    changes_under_load("shared", "127.0.0.1:0");
}

#[test]
fn p60_p76_changes_under_load_lose_nothing_where_each_slot_has_its_own() {
    changes_under_load("reuseport", "127.0.0.1:0");
}

#[test]
fn p60_p76_changes_under_load_lose_nothing_over_a_unix_socket() {
    let path = env::temp_dir().join(format!("cluster-by-itself-{}.sock", process::id()));
    changes_under_load("reuseport", &format!("unix:{}", path.display()));
    assert!(!path.exists());
}

/// The new program may have another policy; workers of the old one keep to theirs until they leave.
///
/// Mutation: forget over an upgrade whose socket is whose.
#[test]
fn p82_upgrades_from_policy_to_policy_under_load_lose_nothing() {
    let disk = Disk::of("by-itself");
    disk.order("shared");
    let mut cluster = disk.plan("policies").workers(2).start();
    cluster.listening(1);
    let address = cluster.listening(2);
    let load = Load::mixed(&address, 3, 3);
    load.served(100);
    let policies = [
        ("shared", 1),
        ("round-robin", 1),
        ("shared", 1),
        ("reuseport", 2),
        ("reuseport", 2),
        ("round-robin", 2),
    ];
    for ((policy, sockets), generation) in policies.into_iter().zip(2..) {
        disk.order(policy);
        cluster.signal(Signal::USR2);
        cluster.said(&format!("upgrade {generation} ok"));
        load.served(100);
        assert_eq!(listening_inodes(&address).len(), sockets, "after the upgrade to {policy}");
    }
    // Only now: the slots' sockets have come meanwhile, and stay.
    cluster.up(2);
    let tally = load.stop();
    cluster.check(tally.harmed() + tally.refused == 0, &format!("nothing lost: {tally:?}"));
    cluster.stop();
}

/// A worker can take its own clients' socket away, and neither time nor life from the primary.
///
/// Mutation: take no note of a socket that was shut down while nobody was to be accepted from it.
#[test]
fn a_socket_that_a_worker_shuts_down_does_not_keep_the_primary_busy() {
    for policy in BOTH {
        let mut cluster = of(policy).workers(2).start();
        let address = cluster.up(2);
        assert_eq!(ask(&address, "/").status, 200);
        cluster.expect_log("it was shut down");
        let worker = listening_socket(cluster.fork(2).pid, &address);
        shutdown(&worker, rustix::net::Shutdown::Both).expect("shut it down");
        drop(worker);
        cluster.logged(&format!("accepting on {address}: it was shut down"));
        let left = if policy == "shared" { 0 } else { 1 };
        assert_eq!(listening_inodes(&address).len(), left);
        if left > 0 {
            assert!((0..8).all(|_| ask(&address, "/").worker() == 1), "the other slot serves");
        } else {
            assert_eq!(attempt(&address, "/"), Outcome::Refused);
        }
        let before = processor_time(cluster.pid());
        cluster.listen_for(Duration::from_secs(1));
        let burnt = processor_time(cluster.pid()) - before;
        cluster.check(burnt < Duration::from_millis(200), &format!("the primary to wait, not {burnt:?}"));
        cluster.stop();
    }
}
