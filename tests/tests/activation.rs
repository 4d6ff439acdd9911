//! Sockets that a service manager passes to the program: found by address and by name, and never ours to remove.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, process};

use cluster_tests::client::{Connection, Outcome, ask};
use cluster_tests::control::{Client, Control, meet};
use cluster_tests::process::{descriptors, listening_inodes};
use cluster_tests::{Cluster, Plan, Signal, by_exec, can_run};

/// The fixture, started with these sockets.
fn activated(sockets: &str, program: &str) -> Plan {
    let plan = Cluster::of("activate").after("exec 3<&- 4<&- 5<&- 6<&-");
    plan.env("TEST_ACTIVATE", sockets).env("TEST_PROGRAM", program)
}

fn path(name: &str) -> String {
    let path: PathBuf = env::temp_dir().join(format!("cluster-{name}-{}.sock", process::id()));
    path.display().to_string()
}

/// Where the one with this name is.
fn place(cluster: &mut Cluster, name: &str) -> String {
    cluster.told(&format!("activated {name} "))
}

fn who_serves(address: &str, clients: usize) -> BTreeSet<u64> {
    let clients: Vec<_> = (0..clients).map(|_| Client::to(address)).collect();
    clients.iter().map(|client| client.worker).collect()
}

/// Mutation: bind it anew, which meets "address in use"; find the first one, whatever its address.
#[test]
fn p114_a_worker_that_binds_the_address_of_one_is_served_it() {
    let mut cluster = activated("a=127.0.0.1:0 b=[::1]:0 c=127.0.0.1:0", "net_control").workers(2).start();
    let (a, b, c) = (place(&mut cluster, "a"), place(&mut cluster, "b"), place(&mut cluster, "c"));
    let inodes: Vec<_> = [&a, &b, &c].map(|address| listening_inodes(address)).into();
    for id in 1..=2 {
        let mut worker = Control::of(&mut cluster, id);
        assert_eq!(worker.serves(&mut cluster, &format!("tcp a {a}")), a);
        assert_eq!(worker.serves(&mut cluster, &format!("tcp b {b}")), b);
        // One that nobody was given is bound as ever, and port 0 is never one of them.
        assert_ne!(worker.serves(&mut cluster, "tcp d 127.0.0.1:0"), c);
    }
    meet(&a, 4, &[1, 2]);
    meet(&b, 4, &[1, 2]);
    let now: Vec<_> = [&a, &b, &c].map(|address| listening_inodes(address)).into();
    assert_eq!(now, inodes, "the very sockets, and no others beside them");
    cluster.stop();
}

/// Mutation: as for TCP.
#[test]
fn p114_unix_and_udp_sockets_are_found_by_address_too() {
    let socket = path("p114");
    let mut cluster =
        activated(&format!("u=unix:{socket} d=udp:127.0.0.1:0"), "net_control").workers(1).start();
    let datagrams = place(&mut cluster, "d");
    let mut worker = Control::of(&mut cluster, 1);
    worker.serves(&mut cluster, &format!("unix u {socket}"));
    assert_eq!(worker.serves(&mut cluster, &format!("udp d {datagrams}")), datagrams);
    let mut greeting = [0; 7];
    UnixStream::connect(&socket).expect("connect").read_exact(&mut greeting).expect("a greeting");
    assert_eq!(&greeting, b"worker ");
    let client = UdpSocket::bind("127.0.0.1:0").expect("bind");
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("set a timeout");
    client.send_to(b"hello", &datagrams).expect("send");
    assert!(client.recv(&mut [0; 100]).expect("an echo") > 0);
    cluster.shares(&format!("unix:{socket}"));
    cluster.stop();
    fs::remove_file(socket).expect("it is there still");
}

/// Mutation: find the first one, whatever its name; have it twice, by its name and by its address.
#[test]
fn p114_by_its_name_too_and_it_is_the_same_one() {
    let socket = path("p114-name");
    let sockets = format!("web=127.0.0.1:0 api=127.0.0.1:0 u=unix:{socket} d=udp:127.0.0.1:0");
    let mut cluster = activated(&sockets, "net_control").workers(2).start();
    let (web, api) = (place(&mut cluster, "web"), place(&mut cluster, "api"));
    let datagrams = place(&mut cluster, "d");
    let mut first = Control::of(&mut cluster, 1);
    let mut second = Control::of(&mut cluster, 2);
    assert_eq!(first.serves(&mut cluster, "tcp-name a api"), api);
    assert_eq!(second.serves(&mut cluster, &format!("tcp a {api}")), api);
    // In turn: one socket, whatever it was asked for by.
    meet(&api, 4, &[1, 2]);
    assert_eq!(first.serves(&mut cluster, "tcp-name w web"), web);
    first.serves(&mut cluster, "unix-name u u");
    assert_eq!(first.serves(&mut cluster, "udp-name d d"), datagrams);
    let error = first.fails("tcp-name x nobody", "NotFound 0");
    assert!(error.contains("web (127.0.0.1:") && error.contains("FileDescriptorName="), "{error}");
    first.fails("tcp-name u u", "AddrInUse 98");
    second.fails("tcp-name u u", "InvalidInput 22");
    second.fails("tcp-name d d", "NotFound 0");
    cluster.shares(&format!("unix:{socket}"));
    cluster.stop();
    fs::remove_file(socket).expect("it is there still");
}

/// Mutation: leave it to be bound by `HttpServer`.
#[test]
fn p114_actix_serves_them_by_address_and_by_name() {
    let socket = path("p114-actix");
    let sockets = format!("web=127.0.0.1:0 admin=unix:{socket}");
    let mut cluster = activated(&sockets, "serve").workers(2).bind("name:web name:admin 127.0.0.1:0").start();
    let web = place(&mut cluster, "web");
    cluster.up(2);
    assert_eq!(ask(&web, "/").status, 200);
    assert_eq!(ask(&format!("unix:{socket}"), "/").status, 200);
    cluster.shares(&format!("unix:{socket}"));
    cluster.stop();
    fs::remove_file(socket).expect("it is there still");
}

/// Mutation: look only where there is a primary.
#[test]
fn p114_unclustered_they_are_there_as_well() {
    let mut cluster =
        activated("a=127.0.0.1:0 b=127.0.0.1:0", "net_control").env("CLUSTER_WORKERS", 0).start();
    let (a, b) = (place(&mut cluster, "a"), place(&mut cluster, "b"));
    let mut worker = Control::of(&mut cluster, 1);
    assert_eq!(worker.does(&format!("tcp a {a}")), a);
    assert_eq!(worker.does("tcp-name b b"), b);
    assert_eq!((who_serves(&a, 1), who_serves(&b, 1)), (BTreeSet::from([1]), BTreeSet::from([1])));
    cluster.signal(Signal::TERM);
    cluster.ends(0);
}

/// Mutation: let workers have all that was passed; leave the variables to who is started later.
#[test]
fn p110_they_are_the_primarys_and_are_taken_once() {
    let mut cluster = activated("a=127.0.0.1:0", "serve").workers(1).start();
    let address = cluster.up(1);
    let inode = listening_inodes(&place(&mut cluster, "a")).remove(0);
    let has = |pid| descriptors(pid).iter().any(|(_, what)| *what == format!("socket:[{inode}]"));
    let worker = cluster.fork(1).pid;
    assert!(has(cluster.pid()) && !has(worker), "of the primary alone");
    for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
        assert_eq!(ask(&address, &format!("/variable/{name}")).body, name);
    }
    cluster.stop();
}

/// Mutation: take them whoever is meant.
#[test]
fn p115_s09_what_is_meant_for_others_or_makes_no_sense_is_passed_over() {
    for (pid, count, told) in
        [("1", "1", None), ("", "-1", Some("-1")), ("", "1000000000", Some("descriptor 4"))]
    {
        let mut plan = activated("a=127.0.0.1:0", "net_control").workers(1).env("TEST_LISTEN_FDS", count);
        if !pid.is_empty() {
            plan = plan.env("TEST_LISTEN_PID", pid);
        }
        let mut cluster = plan.start();
        told.into_iter().for_each(|told| cluster.expect_log(told));
        let a = place(&mut cluster, "a");
        let mut worker = Control::of(&mut cluster, 1);
        if count == "1000000000" {
            // What there is, is there.
            assert_eq!(worker.serves(&mut cluster, "tcp-name a a"), a);
        } else {
            worker.fails("tcp-name a a", "NotFound 0");
            worker.fails(&format!("tcp a {a}"), "AddrInUse 98");
        }
        worker.serves(&mut cluster, "tcp b 127.0.0.1:0");
        cluster.stop();
    }
}

/// As systemd does it, its own tool: it listens, starts the program at the first connection, and who waits is served.
/// Mutation: bind anew; remove the file, or shut the socket down, which are another's.
#[test]
fn p114_p116_systemd_listens_and_its_socket_outlives_us() {
    if !can_run(&["systemd-socket-activate", "--version"]) {
        return;
    }
    let socket = path("p116");
    // It passes on nothing else, and stumbles over what is not there.
    let kept = ["CLUSTER_WORKERS", "TEST_MARK", "TEST_BIND", "CLUSTER_SPAWN"];
    let options = kept.iter().take(if by_exec() { 4 } else { 3 }).flat_map(|name| ["-E", *name]);
    let words: Vec<_> = ["systemd-socket-activate", "-l", &socket].into_iter().chain(options).collect();
    let mut cluster =
        Cluster::of("serve").workers(2).bind(&format!("unix:{socket}")).started_by(&words).start();
    cluster.expect_log("Listening on ");
    cluster.expect_log("Communication attempt on fd 3");
    cluster.expect_log("Execing ");
    cluster.logged("Listening on ");
    let mut early = Connection::to(&format!("unix:{socket}"));
    assert_eq!(early.ask("/").status, 200, "who came before the program");
    cluster.up(2);
    cluster.shares(&format!("unix:{socket}"));
    cluster.stop();
    assert!(Path::new(&socket).exists(), "the file is not ours");
    fs::remove_file(socket).expect("remove it");
}

/// Mutation: shut it, with a filter or for good: whoever listens on it next would hear nothing.
#[test]
fn p116_who_comes_during_the_stop_waits_for_whoever_has_it_next() {
    // Ours too: as systemd keeps it.
    let ours = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = ours.local_addr().expect("an address").to_string();
    let mut cluster = Cluster::of("serve")
        .workers(1)
        .bind(&address)
        .given(ours.try_clone().expect("a duplicate"))
        .after("exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1")
        .start();
    cluster.up(1);
    let mut busy = Connection::to(&address);
    busy.begin();
    cluster.shares(&address);
    cluster.signal(Signal::TERM);
    cluster.logged("stopping");
    assert!(matches!(busy.finish(), Outcome::Answered(_)), "what was begun is finished");
    cluster.ends(0);
    let mut late = TcpStream::connect(&address).expect("it still listens");
    ours.set_nonblocking(false).expect("wait for it");
    ours.accept().expect("a client").0.write_all(b"next").expect("greet");
    let mut greeting = [0; 4];
    late.read_exact(&mut greeting).expect("be served");
}
