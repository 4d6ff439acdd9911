//! Sockets that the program was started with, and those that it listens on by the setting `listen`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};

use cluster_tests::client::ask;
use cluster_tests::control::{Client, Control, meet};
use cluster_tests::process::{self, listening_inodes};
use cluster_tests::{Cluster, Signal};

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

fn who_serves(address: &str, clients: usize) -> BTreeSet<u64> {
    let clients: Vec<_> = (0..clients).map(|_| Client::to(address)).collect();
    clients.iter().map(|client| client.worker).collect()
}

/// Mutation: look the number up in the worker.
#[test]
fn r45_a_listening_descriptor_of_the_primary_is_served_by_the_workers() {
    let (given, address) = listener();
    let mut cluster = Cluster::of("net_control").workers(2).given(given).start();
    for id in 1..=2 {
        assert_eq!(Control::of(&mut cluster, id).serves(&mut cluster, "tcp-fd a 3"), address);
        assert_eq!(cluster.listening(id), address);
    }
    meet(&address, 4, &[1, 2]);
    // It is still there for who comes after them.
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    assert_eq!(Control::of(&mut cluster, 3).serves(&mut cluster, "tcp-fd a 3"), address);
    meet(&address, 4, &[2, 3]);
    cluster.stop();
}

/// Mutation: leave the descriptor to whoever opened it. (The test has closed its own by the time the program runs.)
#[test]
fn r46_a_given_listener_serves_on_when_its_giver_has_closed_it() {
    let (given, address) = listener();
    let mut cluster = Cluster::of("net_control").workers(1).given(given).start();
    Control::of(&mut cluster, 1).serves(&mut cluster, "tcp-fd a 3");
    assert_eq!(listening_inodes(&address).len(), 1);
    assert_eq!(who_serves(&address, 2), BTreeSet::from([1]));
    cluster.stop();
    assert!(listening_inodes(&address).is_empty(), "nobody else had it");
}

/// Mutation: shut a listener down, or put a filter on it, that others have too.
#[test]
fn r03_whoever_gave_it_goes_on_with_it() {
    let (given, address) = listener();
    let ours = given.try_clone().expect("a duplicate");
    let mut cluster = Cluster::of("net_control").workers(2).given(given).start();
    for id in 1..=2 {
        Control::of(&mut cluster, id).serves(&mut cluster, "tcp-fd a 3");
    }
    meet(&address, 4, &[1, 2]);
    cluster.shares(&address);
    cluster.stop();
    let client = std::thread::spawn(move || Client::to(&address).worker);
    ours.set_nonblocking(false).expect("wait for it");
    ours.accept().expect("a client").0.write_all(b"worker 99 here\n").expect("greet");
    assert_eq!(client.join().expect("served"), 99);
}

/// Mutation: duplicate whatever number a worker names; or panic.
#[test]
fn r47_what_is_no_listening_socket_of_the_program_is_an_error() {
    let file = File::open("/dev/null").expect("open");
    let mut cluster = Cluster::of("net_control").workers(1).given(file).start();
    let mut worker = Control::of(&mut cluster, 1);
    worker.serves(&mut cluster, "tcp a 127.0.0.1:0");
    worker.fails("tcp-fd b 3", "Uncategorized 88");
    worker.fails("udp-fd b 3", "Uncategorized 88");
    worker.fails("tcp-fd b -1", "Uncategorized 9");
    // Those of the cluster itself among them, its lanes, its channels, its listener; what else the program was started with
    // is no socket.
    for number in 4..64 {
        worker.fails(&format!("tcp-fd b {number}"), "Uncategorized ");
        worker.fails(&format!("udp-fd b {number}"), "Uncategorized ");
    }
    cluster.stop();
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let mut cluster = Cluster::of("net_control").workers(1).given(datagrams).start();
    Control::of(&mut cluster, 1).fails("tcp-fd b 3", "InvalidInput 22");
    cluster.stop();
}

/// Beside a message, where a listening socket is expected.
///
/// Mutation: take whatever comes, or keep what is refused.
#[test]
fn s06_descriptors_of_other_kinds_are_refused_and_closed() {
    let mut cluster = Cluster::of("other_kinds").workers(2).start();
    let address = cluster.up(2);
    let mut refused = Vec::new();
    for kind in ["pipe", "directory", "device", "epoll", "connection", "datagrams", "unbound", "channel"] {
        let told = cluster.told(&format!("{kind} "));
        let (link, why) = told.split_once(' ').expect("what it was, and why");
        cluster.check(why.contains("os error"), &format!("{kind} to be refused, and not {why}"));
        refused.push(link.to_owned());
    }
    let open = process::own_descriptors(cluster.pid());
    let kept = open.iter().find(|(_, link)| refused.contains(link) && !link.contains("[eventpoll]"));
    cluster.check(kept.is_none(), &format!("none of {refused:?} in {open:?}"));
    cluster.check(open.iter().filter(|(_, link)| link.contains("[eventpoll]")).count() == 1, "its own epoll");
    assert!((0..4).all(|_| ask(&address, "/").status == 200), "both serve");
    cluster.stop();
}

/// Mutation: bind what a worker asks for; or close what nobody has a use for.
#[test]
fn what_listen_names_is_bound_and_nothing_else() {
    let (probe, address) = listener();
    drop(probe);
    let folder = std::env::temp_dir().join(format!("cluster-listen-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("s");
    let listen = format!("{address} unix:{} udp:{address}", path.display());
    let mut cluster = Cluster::of("net_listen").workers(2).bind(&listen).start();
    let mut workers: Vec<_> = (1..=2).map(|id| Control::of(&mut cluster, id)).collect();
    let inode = listening_inodes(&address);
    for worker in &mut workers {
        let denied = worker.fails("tcp a 127.0.0.1:0", "PermissionDenied 0");
        assert!(denied.contains(&listen.replace(' ', ", ")) && denied.contains("127.0.0.1:0"), "{denied}");
        worker.fails("udp a 127.0.0.1:0", "PermissionDenied 0");
        worker.fails(&format!("unix a {}x", path.display()), "PermissionDenied 0");
        worker.fails("tcp a 127.0.0.1:0 exclusive", "PermissionDenied 0");
        assert_eq!(worker.serves(&mut cluster, &format!("tcp a {address}")), address);
        worker.does(&format!("unix b {}", path.display()));
        assert_eq!(worker.does(&format!("udp c {address}")), address);
    }
    meet(&address, 2, &[1, 2]);
    for worker in &mut workers {
        worker.does("drop a");
        worker.does("drop b");
    }
    cluster.listen_for(std::time::Duration::from_millis(300));
    assert!(listening_inodes(&address) == inode && path.exists(), "they stay");
    cluster.stop();
    std::fs::remove_dir(folder).expect("no file is left");
}

/// Mutation: start the workers all the same.
#[test]
fn what_listen_names_and_can_not_be_bound_ends_the_program() {
    let (_taken, address) = listener();
    let mut cluster = Cluster::of("net_listen").workers(2).bind(&address).start();
    cluster.expect_log(&format!("listening on {address}: Address already in use"));
    let story = cluster.ends(1);
    assert_eq!(story.forks().count(), 0, "{story}");
    let mut cluster = Cluster::of("net_listen").workers(2).bind("localhost:80").start();
    cluster.expect_log("`listen` can't be \"localhost:80\"");
    cluster.ends(1);
}

/// Whether this port needs a privilege here, and we can do without it; says so if not.
fn privileged(port: u16) -> bool {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    let needed = first.trim().parse::<u16>().is_ok_and(|first| port < first);
    if !needed {
        println!("skipped: anybody may bind port {port} here");
    }
    needed
}

/// Starts the fixture without the privilege to bind low ports.
const UNPRIVILEGED: &str =
    "exec setpriv --bounding-set=-net_bind_service --inh-caps=-net_bind_service \"$0\"";

fn refused_without_privilege(options: &str) {
    if !privileged(42) {
        return;
    }
    let mut cluster = Cluster::of("net_control").workers(2).after(UNPRIVILEGED).start();
    for id in 1..=2 {
        let mut worker = Control::of(&mut cluster, id);
        worker.fails(&format!("tcp a 127.0.0.1:42{options}"), "PermissionDenied 13");
        let address = worker.serves(&mut cluster, "tcp a 127.0.0.1:0");
        assert_eq!(who_serves(&address, 1), BTreeSet::from([id]));
        worker.does("drop a");
    }
    cluster.stop();
}

/// Mutation: let the error end the primary; or arrive as another.
#[test]
fn n04_a_port_that_needs_a_privilege_is_refused() {
    refused_without_privilege("");
}

/// Mutation: as above, in the worker.
#[test]
fn n65_a_port_that_needs_a_privilege_is_refused_to_one_worker_too() {
    refused_without_privilege(" exclusive");
}
