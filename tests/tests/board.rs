//! The board: what workers count, read by the primary without a message.

use std::fs;
use std::time::Duration;

use cluster_tests::client::{Connection, ask};
use cluster_tests::upgrades::Disk;
use cluster_tests::{Cluster, Event, Signal, board, process};

/// Blocks until what is counted of all together is this: received, open, served. The whole line.
fn total(cluster: &mut Cluster, [received, open, served]: [u64; 3]) -> String {
    let words = format!("total {received} {open} {served}");
    cluster.until(&words, |story| {
        let last = story.events().filter_map(|event| match event {
            Event::Said(line) if line.starts_with("total ") => Some(line),
            _ => None,
        });
        last.last().filter(|line| line.starts_with(&format!("{words},")) || **line == words).cloned()
    })
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
    assert_eq!(total(&mut cluster, [6, 6, 18]), "total 6 6 18, 1: 3 3 9, 2: 3 3 9");
    // By turns.
    held.truncate(4);
    assert_eq!(total(&mut cluster, [6, 4, 18]), "total 6 4 18, 1: 3 2 9, 2: 3 2 9");
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.said("1 had Some(9)");
    cluster.up(2);
    assert_eq!(total(&mut cluster, [6, 2, 18]), "total 6 2 18, 3: 0 0 0, 2: 3 2 9");
    drop(held);
    cluster.signal(Signal::HUP);
    cluster.said("reload 2 ok");
    cluster.exit(3);
    cluster.exit(2);
    assert_eq!(total(&mut cluster, [6, 0, 18]), "total 6 0 18, 4: 0 0 0, 5: 0 0 0");
    let more = connections(&address, 2, 1);
    assert_eq!(total(&mut cluster, [8, 2, 20]), "total 8 2 20, 4: 1 1 1, 5: 1 1 1");
    drop(more);
    total(&mut cluster, [8, 0, 20]);
    never_less(&mut cluster);
    cluster.stop();
}

/// Mutation: leave the rows behind, or the sums; map nothing in the new image; let a lane forget its line.
#[test]
fn r04_counts_outlive_an_upgrade() {
    let disk = Disk::of("r04");
    let mut cluster = disk.plan("counts").workers(2).start();
    let address = cluster.up(2);
    let held = connections(&address, 4, 2);
    total(&mut cluster, [4, 4, 8]);
    cluster.signal(Signal::USR2);
    // Those who drain count on, in the image that has taken over.
    cluster.fork(3);
    drop(held);
    cluster.said("upgrade 2 ok");
    cluster.exit(1);
    cluster.exit(2);
    assert_eq!(total(&mut cluster, [4, 0, 8]), "total 4 0 8, 3: 0 0 0, 4: 0 0 0");
    drop(connections(&address, 2, 2));
    assert_eq!(total(&mut cluster, [6, 0, 12]), "total 6 0 12, 3: 1 0 2, 4: 1 0 2");
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
fn p73_three_hundred_births_leave_no_row_behind() {
    let mut cluster = Cluster::start("serve", 1);
    cluster.up(1);
    let primary = cluster.pid();
    let rows = || {
        let open = process::descriptors(primary);
        let open = open.iter().filter(|(_, target)| target.contains(board::NAME)).count();
        (open, board::mapped(primary).len())
    };
    cluster.expect_log("SIGKILL");
    for id in 1..=300 {
        cluster.signal_worker(id, Signal::KILL);
        cluster.exit(id);
        cluster.listening(id + 1);
    }
    cluster.eventually("one row, mapped once", || rows() == (1, 1));
    let worker = cluster.fork(301).pid;
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
    let before = waits(primary);
    cluster.listen_for(Duration::from_secs(7));
    let woken = waits(primary) - before;
    // A turn a second, and what the start has left to do.
    cluster.check((5..=20).contains(&woken), &format!("a turn a second: {woken} in seven"));
    let silent = cluster.story().log().filter(|line| line.contains("no sign of life")).count();
    cluster.check(silent == 0, "nobody to be suspected");
    cluster.stop();
}
