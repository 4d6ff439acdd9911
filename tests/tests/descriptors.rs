//! What a process of the cluster inherits: nothing but what it needs.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_tests::client::{Connection, ask};
use cluster_tests::{Cluster, Signal, process};
use rustix::fs::OFlags;

fn sockets(pid: u32) -> BTreeSet<String> {
    let all = process::own_descriptors(pid).into_iter().map(|(_, target)| target);
    all.filter(|target| target.starts_with("socket:")).collect()
}

/// No listener, no other worker's socket, nothing of the primary's loop; standard ones and its own.
fn inherits_nothing_foreign(cluster: &mut Cluster, address: Option<&str>) {
    let pids: Vec<u32> = cluster.story().forks().map(|fork| fork.pid).collect();
    for pid in &pids {
        let open = process::own_descriptors(*pid);
        let of_the_primary = ["[signalfd]", "[pidfd]", "[timerfd]"];
        let foreign = open.iter().find(|(_, target)| of_the_primary.iter().any(|kind| target.contains(kind)));
        cluster.check(foreign.is_none(), &format!("nothing of the primary's loop in {open:?}"));
        for inode in address.into_iter().flat_map(process::listening_inodes) {
            let listener = format!("socket:[{inode}]");
            cluster.check(!sockets(*pid).contains(&listener), &format!("no listener in {open:?}"));
        }
        for other in pids.iter().filter(|other| *other != pid) {
            let shared: Vec<_> = sockets(*pid).intersection(&sockets(*other)).cloned().collect();
            cluster.check(shared.is_empty(), &format!("{pid} and {other} to share no socket: {shared:?}"));
        }
    }
}

/// Mutation: skip closing the other workers' channels after the fork.
#[test]
fn s01_a_worker_that_does_not_serve_has_one_socket() {
    let mut cluster = Cluster::of("idle").workers(3).start();
    for id in 1..=3 {
        cluster.said(&format!("body {id}"));
        let pid = cluster.fork(id).pid;
        let open = process::own_descriptors(pid);
        cluster.check(sockets(pid).len() == 1, &format!("the channel and no other socket in {open:?}"));
        let polled = open.iter().any(|(_, target)| target.contains("[eventpoll]"));
        cluster.check(!polled, &format!("no epoll in a worker without a runtime: {open:?}"));
    }
    inherits_nothing_foreign(&mut cluster, None);
    cluster.stop();
}

/// Mutation: as above; keep the listeners or the lanes open in the worker.
#[test]
fn s01_serving_workers_share_nothing_and_their_children_inherit_nothing() {
    for fixture in ["serve", "preload"] {
        let mut cluster = Cluster::start(fixture, 3);
        cluster.up(3);
        // The first three are born before there is a listener or a lane; this one's replacement is not.
        cluster.expect_log("SIGKILL");
        cluster.signal_worker(1, Signal::KILL);
        cluster.listening(4);
        let address = cluster.up(3);
        let mut held: Vec<_> = (0..6).map(|_| Connection::to(&address)).collect();
        held.iter_mut().for_each(Connection::begin);
        inherits_nothing_foreign(&mut cluster, Some(&address));
        let reply = ask(&address, "/grandchild");
        let grandchild = grandchild(&reply.body);
        cluster.eventually("the grandchild's exec", || process::describe(grandchild).contains("sleep"));
        // While it is being loaded its libraries are open, too.
        cluster.eventually("only standard descriptors in a grandchild", || {
            let open = process::own_descriptors(grandchild);
            open.iter().map(|(number, _)| *number).eq([0, 1, 2])
        });
        for mut connection in held {
            let _ = connection.finish().reply();
        }
        process::signal(grandchild, Signal::KILL);
        cluster.stop();
    }
}

/// Mutation: receive without MSG_CMSG_CLOEXEC.
#[test]
fn s02_a_connection_closes_although_a_grandchild_lives() {
    let mut cluster = Cluster::start("serve", 1);
    let address = cluster.up(1);
    let mut held = Connection::to(&address);
    held.begin();
    let first = grandchild(&ask(&address, "/grandchild").body);
    let second = grandchild(&ask(&address, "/grandchild").body);
    cluster.check(process::state(first).is_some_and(|(state, _)| state != 'Z'), "the first to live on");
    // A server that closes a connection says so by shutdown(2), copy or not. One that dies closes its descriptor, and
    // the connection ends if nobody else has one.
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    assert!(
        held.is_closed_within(Duration::from_secs(10)),
        "a child of the worker has a copy of its connection"
    );
    cluster.listening(2);
    process::signal(first, Signal::KILL);
    process::signal(second, Signal::KILL);
    cluster.stop();
}

/// What others have, too, is left as it was: their flags would be changed with ours. What is a worker's alone never blocks it,
/// and no program that it starts has it.
///
/// Mutation: set O_NONBLOCK on the standard ones; accept without flags.
#[test]
fn p93_descriptors_keep_their_flags() {
    let mut cluster = Cluster::of("serve").workers(1).env("CLUSTER_OUTPUT", "tagged").start();
    let address = cluster.up(1);
    let ours = |pid: u32| [0, 1, 2].map(|number| process::flags(pid, number));
    let (primary, worker) = (cluster.pid(), cluster.fork(1).pid);
    let before = ours(primary);
    let old: BTreeSet<_> = sockets(worker);
    let mut held = Connection::to(&address);
    held.begin();
    let open = process::own_descriptors(worker).into_iter();
    let new = open.filter(|(_, link)| link.starts_with("socket:") && !old.contains(link));
    // Its lane may be among them.
    let flags: Vec<_> = new.map(|(number, _)| process::flags(worker, number)).collect();
    let wanted = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits();
    let so = !flags.is_empty() && flags.iter().all(|flags| flags & wanted == wanted);
    cluster.check(so, &format!("a connection that never blocks, and not {flags:x?}"));
    let _ = held.finish().reply();
    cluster.signal(Signal::USR2);
    cluster.said("upgrade 2 ok");
    for pid in [primary, cluster.fork(2).pid] {
        let blocks = ours(pid).iter().all(|flags| flags & OFlags::NONBLOCK.bits() == 0);
        cluster.check(blocks, &format!("standard ones that block: {:?}", ours(pid)));
    }
    assert_eq!(ours(primary), before);
    cluster.stop();
}

/// Mutation: mark workers in the environment, and believe the mark.
#[test]
fn s08_the_same_program_started_by_a_worker_is_a_primary_of_its_own() {
    let mut cluster = Cluster::start("serve", 2);
    let outer = cluster.up(2);
    let reply = ask(&outer, "/again");
    let inner = reply.body.rsplit(' ').next().unwrap_or_default().to_owned();
    let primary = u32::try_from(reply.number("primary").unwrap_or_default()).expect("a pid");
    assert_ne!(inner, outer);
    let (inside, outside) = (ask(&inner, "/"), ask(&outer, "/"));
    assert_ne!(inside.pid(), outside.pid());
    assert_eq!(process::state(inside.pid()).map(|(_, parent)| parent), Some(primary));
    ask(&inner, "/say/from-inside");
    process::signal(primary, Signal::TERM);
    assert!(process::exits_within(primary, cluster_tests::PATIENCE));
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 2, "the inner cluster's workers are none of ours: {story}");
    assert!(!story.events().any(|event| event.name() == "message"), "nor are its messages: {story}");
}

fn grandchild(body: &str) -> u32 {
    let pid = body.rsplit(' ').next().and_then(|pid| pid.parse().ok());
    pid.unwrap_or_else(|| panic!("no pid in {body}"))
}
