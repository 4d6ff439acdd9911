//! What clients see of an upgrade: nothing.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::{env, fs, process};

use cluster_judge::{Class, Plan};
use cluster_tests::client::{Connection, ask};
use cluster_tests::load::Load;
use cluster_tests::upgrades::Disk;
use cluster_tests::{Cluster, Event, Signal};

use super::upgrade;

/// Upgrades again and again under load: all are answered, and all generations have answered.
fn upgrades_under_load(disk: &Disk, mut cluster: Cluster, upgrades: u64) {
    let address = cluster.up(2);
    let load = Load::mixed(&address, 3, 3);
    load.served(100);
    for generation in 2..2 + upgrades {
        disk.put(if generation % 2 == 0 { "successor" } else { "serve" });
        upgrade(&mut cluster, generation);
        load.served(100);
    }
    cluster.up(2);
    let tally = load.stop();
    cluster.check(tally.harmed() + tally.refused == 0, &format!("nothing lost: {tally:?}"));
    let generations: Vec<u64> = tally.by_generation.keys().copied().collect();
    cluster.check(generations == (1..2 + upgrades).collect::<Vec<_>>(), &format!("all to serve: {tally:?}"));
    let story = cluster.stop();
    let well =
        story.exits().filter(|exit| exit.code == Some(0) && exit.voluntary && exit.reason == "Replaced");
    assert_eq!(well.count(), 2 * upgrades as usize, "{story}");
}

/// Mutation: leave the listening sockets CLOEXEC; do not carry the connections that wait at the door.
#[test]
fn p82_upgrades_under_load_lose_nothing_over_tcp() {
    let disk = Disk::of("p82-tcp");
    let cluster = disk.plan("serve").workers(2).start();
    upgrades_under_load(&disk, cluster, 6);
}

/// The file is the same one all the time, and it goes with the last program.
///
/// Mutation: forget that the file is ours; bind it anew.
#[test]
fn p82_upgrades_under_load_lose_nothing_over_a_unix_socket() {
    let disk = Disk::of("p82-unix");
    let path: PathBuf = env::temp_dir().join(format!("cluster-p82-{}.sock", process::id()));
    let mut cluster = disk.plan("serve").workers(2).bind(&format!("unix:{}", path.display())).start();
    cluster.up(2);
    let inode = || fs::metadata(&path).expect("the socket's file").ino();
    let before = inode();
    upgrade(&mut cluster, 2);
    assert_eq!(inode(), before);
    upgrade(&mut cluster, 3);
    assert_eq!(inode(), before);
    cluster.stop();
    assert!(!path.exists());
    let cluster = disk.plan("serve").workers(2).bind(&format!("unix:{}", path.display())).start();
    upgrades_under_load(&disk, cluster, 4);
}

/// Mutation: find another image for a worker than the primary's.
#[test]
fn p82_upgrades_under_load_lose_nothing_with_workers_by_exec() {
    let disk = Disk::of("p82-exec");
    let cluster = disk.plan("serve").workers(2).env("CLUSTER_SPAWN", "exec").start();
    upgrades_under_load(&disk, cluster, 3);
}

/// All kinds of clients, on two addresses, judged by who knows nothing of clusters. The control is in `drains.rs`.
///
/// Mutation: as above.
#[test]
fn p82_no_kind_of_client_notices_an_upgrade() {
    let disk = Disk::of("p82-judged");
    let path = env::temp_dir().join(format!("cluster-p82-judged-{}.sock", process::id()));
    let mut cluster =
        disk.plan("judged").workers(2).bind(&format!("127.0.0.1:0 unix:{}", path.display())).start();
    cluster.up(2);
    let both = cluster
        .until("both addresses", |story| (story.addresses().len() == 2).then(|| story.addresses().join(" ")));
    let mut plan = Plan::on(both.split(' ').map(|address| address.parse().expect("an address")));
    plan.crews.push("keep-alive=3@1ms".parse().expect("a crew"));
    plan.may_race = true;
    let trial = plan.begin().expect("start the clients");
    for generation in 2..=4 {
        cluster.check(trial.each_has(Class::Ok, 3), "everybody to be served");
        upgrade(&mut cluster, generation);
    }
    cluster.check(trial.each_has(Class::Ok, 3), "everybody to be served");
    let verdict = trial.stop();
    println!("{verdict}");
    cluster.check(verdict.is_clean(), &format!("a clean verdict\n{verdict}"));
    cluster.stop();
}

/// The control of P82: a program that is killed and started anew on the same port does cost somebody something.
#[test]
fn p82_control_a_restart_loses_something() {
    let mut first = Cluster::of("serve").workers(2).bind("127.0.0.1:0").start();
    let address = first.up(2);
    let load = Load::mixed(&address, 3, 3);
    load.served(100);
    first.stop();
    // A client that knocks while it stops is not heard, knocks again a second later, and may never have noticed.
    load.refused(1);
    let mut second = Cluster::of("serve").workers(2).bind(&address).start();
    second.up(2);
    load.served(50);
    let tally = load.stop();
    second.check(tally.refused + tally.harmed() > 0, &format!("a loss: {tally:?}"));
    second.stop();
}

/// Who is being served is served to the end by the worker of the old program.
///
/// Mutation: take over a worker's channel and not its lanes; end an adopted worker at once.
#[test]
fn p112_a_hundred_requests_that_are_held_over_an_upgrade_end_where_they_began() {
    let disk = Disk::of("p112");
    let mut cluster = disk.plan("serve").workers(2).start();
    let address = cluster.up(2);
    let mut held: Vec<_> = (0..100).map(|_| Connection::to(&address)).collect();
    held.iter_mut().for_each(Connection::begin);
    disk.put("successor");
    cluster.signal(Signal::USR2);
    for id in 3..=4 {
        cluster.listening(id);
    }
    let new = ask(&address, "/").worker();
    assert!(new > 2, "worker {new} answers");
    // It has not ended: two workers of the old program have a hundred clients.
    assert!(!cluster.story().said("upgrade 2 ok"));
    for mut connection in held {
        let reply = connection.finish().reply();
        assert!(reply.worker() <= 2, "{reply:?}");
    }
    cluster.said("upgrade 2 ok");
    cluster.stop();
}

/// Has a worker stand still, and waits until it does.
fn stop(cluster: &mut Cluster, id: u64) {
    cluster.signal_worker(id, Signal::STOP);
    let pid = cluster.fork(id).pid;
    cluster.eventually("a worker that stands still", || {
        cluster_tests::process::state(pid).is_some_and(|(state, _)| state == 'T')
    });
}

/// Connections that lie unread before a worker which stands still come to the new ones.
///
/// Mutation: leave out `rx` of the lanes; do not read back what an adopted worker has not read.
#[test]
fn p146_what_a_stopped_worker_has_not_read_is_served_by_the_new_program() {
    let disk = Disk::of("p146");
    let mut cluster = disk.plan("serve").workers(2).env("CLUSTER_DRAIN_TIMEOUT", "1s").start();
    let address = cluster.up(2);
    cluster.expect_log("since its time was over");
    stop(&mut cluster, 1);
    let mut waiting: Vec<_> = (0..20).map(|_| Connection::to(&address)).collect();
    for connection in &mut waiting {
        connection.write(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("ask");
    }
    disk.put("successor");
    upgrade(&mut cluster, 2);
    for mut connection in waiting {
        let reply = connection.read_to_end().reply();
        assert_ne!(reply.worker(), 1);
    }
    cluster.exit(1);
    cluster.stop();
}

/// What the old primary had half written to a worker, the new one writes on.
///
/// Mutation: begin with an empty outbox; say hello again.
#[test]
fn messages_that_are_half_sent_at_the_exec_arrive_whole_and_in_order() {
    let disk = Disk::of("half-sent");
    let mut cluster = disk.plan("serve").workers(2).start();
    let address = cluster.up(2);
    let mut other = Connection::to(&address);
    while other.ask("/").worker() != 2 {
        other = Connection::to(&address);
    }
    stop(&mut cluster, 1);
    // Short enough to be printed in one piece: many processes print into one pipe.
    let text = "x".repeat(900);
    let count = 400;
    for number in 0..count {
        let _ = other.ask(&format!("/tell/1/{number}-{text}"));
    }
    cluster.until("all orders", |story| {
        let orders = story.events().filter(|event| event.name() == "message").count();
        (orders == count).then_some(())
    });
    disk.put("successor");
    disk.hold(cluster.pid());
    cluster.signal(Signal::USR2);
    cluster.said("holding");
    cluster.signal_worker(1, Signal::CONT);
    disk.let_go();
    drop(other);
    cluster.said("heard 1 the end");
    cluster.said("upgrade 2 ok");
    let heard: Vec<String> = cluster
        .story()
        .events()
        .filter_map(|event| match event {
            Event::Said(line) => line.strip_prefix("heard 1 ").map(str::to_owned),
            _ => None,
        })
        .collect();
    let expected: Vec<_> = (0..count).map(|number| format!("{number}-{text}")).collect();
    cluster.check(heard[..count] == expected, "all of them in order");
    cluster.stop();
}
