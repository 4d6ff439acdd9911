//! The board: what workers count, read by the primary without a message.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use cluster_tests::client::{Connection, ask};
use cluster_tests::upgrades::Disk;
use cluster_tests::{Cluster, Event, Signal, board, process};

/// Blocks until this is what was counted last: of all together and of each, received, open, served.
fn counted(cluster: &mut Cluster, counts: &str) {
    cluster.until(counts, |story| {
        let told = story.events().filter_map(|event| match event {
            Event::Said(line) => line.strip_prefix("total "),
            _ => None,
        });
        told.last().filter(|last| *last == counts).map(drop)
    });
}

/// So many requests on each.
fn connections(address: &str, count: usize, requests: usize) -> Vec<Connection> {
    let one = |_| {
        let mut connection = Connection::to(address);
        (0..requests).for_each(|_| drop(connection.ask("/")));
        connection
    };
    (0..count).map(one).collect()
}

/// No total that was told is less than one before it, but for what is open.
fn never_less(cluster: &mut Cluster) {
    let line = |event: &Event| match event {
        Event::Said(line) => line.strip_prefix("total ").map(|line| line.replace(',', "")),
        _ => None,
    };
    let counts = cluster.story().events().filter_map(line).map(|line| {
        let mut words = line.split(' ').map(|word| word.parse::<u64>().unwrap_or_default());
        (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default())
    });
    let counts: Vec<_> = counts.collect();
    let so = counts.iter().map(|(received, _)| received).is_sorted()
        && counts.iter().map(|(_, served)| served).is_sorted();
    cluster.check(so, "sums that never go backwards");
}

/// Mutation: count no end; count requests by connections; forget who is gone, or keep what it had open; count a worker's row
/// again for its successor.
#[test]
fn r04_p40_what_is_received_open_and_served_is_counted_and_outlives_who_counted_it() {
    let mut cluster = Cluster::start("counts", 2);
    let address = cluster.up(2);
    let mut held = connections(&address, 6, 3);
    counted(&mut cluster, "6 6 18, 1: 3 3 9, 2: 3 3 9");
    // By turns.
    held.truncate(4);
    counted(&mut cluster, "6 4 18, 1: 3 2 9, 2: 3 2 9");
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.said("1 had Some(9)");
    cluster.up(2);
    counted(&mut cluster, "6 2 18, 3: 0 0 0, 2: 3 2 9");
    drop(held);
    cluster.signal(Signal::HUP);
    cluster.said("reload 2 ok");
    cluster.exit(3);
    cluster.exit(2);
    counted(&mut cluster, "6 0 18, 4: 0 0 0, 5: 0 0 0");
    let more = connections(&address, 2, 1);
    counted(&mut cluster, "8 2 20, 4: 1 1 1, 5: 1 1 1");
    drop(more);
    counted(&mut cluster, "8 0 20, 4: 1 0 1, 5: 1 0 1");
    never_less(&mut cluster);
    cluster.stop();
}

/// Mutation: count a connection as a request when it comes, or never; count none of `cluster::net`.
#[test]
fn r04_a_connection_of_net_counts_as_one_request_when_it_has_ended() {
    let mut cluster = Cluster::of("counts").workers(1).env("TEST_NET", 1).start();
    let address = cluster.up(1);
    let mut client = TcpStream::connect(&address).expect("connect");
    client.write_all(b"a word").expect("write");
    let echoed = client.read(&mut [0; 1]).expect("read");
    cluster.check(echoed == 1, "a worker to serve");
    counted(&mut cluster, "1 1 0, 1: 1 1 0");
    drop(client);
    counted(&mut cluster, "1 0 1, 1: 1 0 1");
    cluster.stop();
}

/// Mutation: send the nursery, or the fresh image, no row; map it and count elsewhere.
#[test]
fn whoever_is_born_in_another_way_has_its_row_too() {
    for (fixture, spawn) in [("preload", "fork"), ("serve", "exec")] {
        let mut cluster = Cluster::of(fixture).workers(1).env("CLUSTER_SPAWN", spawn).start();
        let address = cluster.up(1);
        let held = connections(&address, 1, 2);
        cluster.expect_log("  ");
        cluster.signal(Signal::USR1);
        cluster.logged("connections: 1 open of 1, requests: 2");
        let pid = cluster.fork(1).pid;
        cluster.check(board::mapped(pid).len() == 1, "one row in the worker");
        let open = process::descriptors(pid);
        cluster.check(!open.iter().any(|(_, to)| to.contains(board::NAME)), "no descriptor of it");
        drop(held);
        cluster.stop();
    }
}

/// Mutation: leave the rows behind, or the sums; map nothing in the new image; let a lane forget its line.
#[test]
fn r04_counts_outlive_an_upgrade() {
    let disk = Disk::of("r04");
    let mut cluster = disk.plan("counts").workers(2).start();
    let address = cluster.up(2);
    let held = connections(&address, 4, 2);
    counted(&mut cluster, "4 4 8, 1: 2 2 4, 2: 2 2 4");
    cluster.signal(Signal::USR2);
    // Those who drain count on, in the image that has taken over.
    cluster.fork(3);
    drop(held);
    cluster.said("upgrade 2 ok");
    cluster.exit(1);
    cluster.exit(2);
    counted(&mut cluster, "4 0 8, 3: 0 0 0, 4: 0 0 0");
    drop(connections(&address, 2, 2));
    counted(&mut cluster, "6 0 12, 3: 1 0 2, 4: 1 0 2");
    never_less(&mut cluster);
    cluster.stop();
}

/// Mutation: believe whatever stands there; leave out a seal.
#[test]
fn s16_a_worker_that_writes_all_over_its_row_has_no_other_and_can_not_take_its_own_away() {
    let mut cluster = Cluster::start("counts", 2);
    let address = cluster.up(2);
    cluster.expect_log("has written on its board what can't be");
    let answer = ask(&address, "/lie");
    let liar = answer.worker();
    let said = answer.body.clone();
    cluster.check(said.ends_with("of 1 page, refused 4 of 4"), &said);
    cluster.logged("has written on its board what can't be");
    let other = 3 - liar;
    drop(connections(&address, 20, 1));
    // Its turn comes as ever, and what it counts is passed over.
    cluster.until("the other one's counts", |story| {
        let of_other = |line: &str| line.contains(&format!(", {other}: 10 0 10"));
        story.events().any(|event| matches!(event, Event::Said(line) if of_other(line))).then_some(())
    });
    never_less(&mut cluster);
    let lines = cluster.story().log().filter(|line| line.contains("what can't be")).count();
    cluster.check(lines == 1, "to be told once");
    cluster.stop();
}

/// Mutation: close no row, or unmap none.
#[test]
fn p73_a_hundred_births_leave_no_row_behind() {
    let mut cluster = Cluster::start("serve", 1);
    cluster.up(1);
    let primary = cluster.pid();
    let rows = || {
        let open = process::descriptors(primary);
        let open = open.iter().filter(|(_, target)| target.contains(board::NAME)).count();
        (open, board::mapped(primary).len())
    };
    cluster.expect_log("SIGKILL");
    for id in 1..=100 {
        cluster.signal_worker(id, Signal::KILL);
        cluster.exit(id);
        cluster.listening(id + 1);
    }
    cluster.eventually("one row, mapped once", || rows() == (1, 1));
    let worker = cluster.fork(101).pid;
    cluster.check(board::mapped(worker).len() == 1, "its own and nobody else's in the worker");
    let held = process::descriptors(worker);
    cluster.check(!held.iter().any(|(_, target)| target.contains(board::NAME)), "no descriptor of it");
    cluster.stop();
}

/// How often the process has waited so far.
fn waits(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the primary's status");
    let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    waits.and_then(|waits| waits.trim().parse().ok()).expect("a number")
}

/// Sixteen workers beat six times in the time that they have, and nobody is told of it.
///
/// Mutation: beat by messages; look at the board whenever somebody's time is half over, and not at all of it at once.
#[test]
fn p32_healthy_workers_wake_the_primary_for_nothing() {
    let mut cluster = Cluster::of("serve").workers(16).env("CLUSTER_HEARTBEAT_TIMEOUT", "5s").start();
    cluster.up(16);
    let primary = cluster.pid();
    let mut woken = u64::MAX;
    // What the start has left to do may be more than that, on a slow machine, but not in the second seven seconds; and some of them
    // the machine may stand still.
    for _ in 0..2 {
        let before = waits(primary);
        cluster.listen_for(Duration::from_secs(7));
        woken = woken.min(waits(primary) - before);
        if woken <= 20 {
            break;
        }
    }
    cluster.check((3..=20).contains(&woken), &format!("a turn a second: {woken} in seven"));
    let silent = cluster.story().log().filter(|line| line.contains("no sign of life")).count();
    cluster.check(silent == 0, "nobody to be suspected");
    cluster.stop();
}
