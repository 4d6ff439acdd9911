//! The board: what workers count, read by the primary without a message.

use std::collections::BTreeMap;
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

/// What is to be counted, by who has answered: whoever is kept from its processor is passed over.
#[derive(Default)]
struct Ledger {
    held: Vec<(u64, Connection)>,
    received: BTreeMap<u64, u64>,
    served: BTreeMap<u64, u64>,
}

impl Ledger {
    /// So many requests on each.
    fn open(&mut self, address: &str, connections: usize, requests: usize) {
        for _ in 0..connections {
            let mut connection = Connection::to(address);
            let by: Vec<_> = (0..requests).map(|_| connection.ask("/").worker()).collect();
            *self.received.entry(by[0]).or_default() += 1;
            *self.served.entry(by[0]).or_default() += by.len() as u64;
            self.held.push((by[0], connection));
        }
    }

    /// Of all, and of each of these: as the primary tells it.
    fn line(&self, up: &[u64]) -> String {
        let of = |id: u64| self.held.iter().filter(|(by, _)| *by == id).count();
        let all = (self.received.values().sum::<u64>(), self.held.len(), self.served.values().sum::<u64>());
        let each = up.iter().map(|id| {
            let count = |counts: &BTreeMap<u64, u64>| counts.get(id).copied().unwrap_or(0);
            format!(", {id}: {} {} {}", count(&self.received), of(*id), count(&self.served))
        });
        format!("{} {} {}{}", all.0, all.1, all.2, each.collect::<String>())
    }
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
    let mut ledger = Ledger::default();
    ledger.open(&address, 6, 3);
    counted(&mut cluster, &ledger.line(&[1, 2]));
    ledger.held.truncate(4);
    counted(&mut cluster, &ledger.line(&[1, 2]));
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.said(&format!("1 had {:?}", ledger.served.get(&1).copied().or(Some(0))));
    cluster.up(2);
    ledger.held.retain(|(by, _)| *by != 1);
    counted(&mut cluster, &ledger.line(&[3, 2]));
    ledger.held.clear();
    cluster.signal(Signal::HUP);
    cluster.said("reload 2 ok");
    cluster.exit(3);
    cluster.exit(2);
    counted(&mut cluster, &ledger.line(&[4, 5]));
    ledger.open(&address, 2, 1);
    counted(&mut cluster, &ledger.line(&[4, 5]));
    ledger.held.clear();
    counted(&mut cluster, &ledger.line(&[4, 5]));
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
        let mut ledger = Ledger::default();
        ledger.open(&address, 1, 2);
        cluster.expect_log("  ");
        cluster.signal(Signal::USR1);
        cluster.logged("connections: 1 open of 1, requests: 2");
        let pid = cluster.fork(1).pid;
        cluster.check(board::mapped(pid).len() == 1, "one row in the worker");
        let open = process::descriptors(pid);
        cluster.check(!open.iter().any(|(_, to)| to.contains(board::NAME)), "no descriptor of it");
        drop(ledger);
        cluster.stop();
    }
}

/// Mutation: leave the rows behind, or the sums; map nothing in the new image; let a lane forget its line.
#[test]
fn r04_counts_outlive_an_upgrade() {
    let disk = Disk::of("r04");
    let mut cluster = disk.plan("counts").workers(2).start();
    let address = cluster.up(2);
    let mut ledger = Ledger::default();
    ledger.open(&address, 4, 2);
    counted(&mut cluster, &ledger.line(&[1, 2]));
    cluster.signal(Signal::USR2);
    // Those who drain count on, in the image that has taken over.
    cluster.fork(3);
    ledger.held.clear();
    cluster.said("upgrade 2 ok");
    cluster.exit(1);
    cluster.exit(2);
    counted(&mut cluster, &ledger.line(&[3, 4]));
    ledger.open(&address, 2, 2);
    ledger.held.clear();
    counted(&mut cluster, &ledger.line(&[3, 4]));
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
    let mut ledger = Ledger::default();
    // Its turn comes as ever, when what it says it has not read is found not to be there; and what it counts is passed over.
    cluster.eventually("the liar to have its turns", || {
        ledger.open(&address, 2, 1);
        ledger.held.clear();
        ledger.served.get(&liar).is_some_and(|served| *served >= 10)
    });
    let seen = ledger.served.get(&other).copied().unwrap_or(0);
    let of_other = format!(", {other}: {seen} 0 {seen}");
    cluster.until("the other one's counts", |story| {
        let told = |event: &Event| matches!(event, Event::Said(line) if line.contains(&of_other));
        story.events().any(told).then_some(())
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
