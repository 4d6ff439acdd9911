//! No connection is lost that no worker had begun to read.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_tests::client::{Connection, Outcome, ask};
use cluster_tests::load::Load;
use cluster_tests::{Cluster, Signal, process};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

/// Mutation: do not read a dead worker's lane back.
#[test]
fn g1_what_a_stopped_and_killed_worker_had_not_received_is_served_by_others() {
    // All clients of one address are for one worker, and wait for it: by turns, what it has not read would be others' before.
    let mut cluster = Cluster::of("serve").env("CLUSTER_POLICY", "sticky").workers(2).start();
    let address = cluster.up(2);
    let theirs = ask(&address, "/").worker();
    cluster.signal_worker(theirs, Signal::STOP);
    let stopped = cluster.fork(theirs).pid;
    cluster
        .eventually("the worker to stop", || process::state(stopped).is_some_and(|(state, _)| state == 'T'));
    let mut clients: Vec<_> = (0..20).map(|_| Connection::to(&address)).collect();
    for client in &mut clients {
        client.write(GET).expect("write a request");
        client.patience(Duration::from_millis(300));
    }
    let mut waiting: Vec<_> = clients
        .into_iter()
        .filter_map(|mut client| matches!(client.read_to_end(), Outcome::TimedOut).then_some(client))
        .collect();
    // The control: had nobody waited, nothing would have been on the lane of the stopped worker.
    cluster.check(waiting.len() == 20, &format!("all clients to wait, not {}", waiting.len()));
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(theirs, Signal::KILL);
    for client in &mut waiting {
        client.patience(Duration::from_secs(10));
        assert_ne!(client.read_to_end().reply().worker(), theirs);
    }
    cluster.up(2);
    cluster.stop();
}

/// Mutation: as for G1; count the killed, which have served, as workers that die at their start, and give up.
#[test]
fn g4_ten_kills_a_second_under_load() {
    let mut cluster = Cluster::start("serve", 3);
    let address = cluster.up(3);
    cluster.expect_log("SIGKILL");
    let load = Load::on(&address, 4);
    let kills = 60;
    let mut held = 0;
    for kill in 0..kills {
        // Service all along, however slow the machine is.
        load.served(20);
        cluster.listen_for(Duration::from_millis(100));
        let up = cluster.story().listening();
        if let Some(victim) = up.get(kill % up.len().max(1)).copied() {
            cluster.signal_worker(victim, Signal::KILL);
            // A third of the four clients each, and all of them where the others have not come back yet.
            held += [4, 2, 1][up.len().min(3) - 1];
        }
    }
    let tally = load.stop();
    println!("{tally:?}");
    cluster.check(tally.refused + tally.timeout + tally.wrong + tally.reset == 0, &format!("{tally:?}"));
    // Only what the killed worker had begun to read: with four clients and three workers, about one a kill.
    cluster.check(tally.lost + tally.truncated <= held, &format!("at most {held}: {tally:?}"));
    cluster.up(3);
    cluster.stop();
}

/// Mutation: let a full worker keep what is on its lane; count one connection less.
#[test]
fn n45_each_worker_takes_as_many_as_it_may_and_others_take_the_rest() {
    let mut cluster = Cluster::of("max_connections").start();
    let address = cluster.up(3);
    let mut held: Vec<_> = (0..10).map(|_| Connection::to(&address)).collect();
    held.iter_mut().for_each(Connection::begin);
    let mut eleventh = Connection::to(&address);
    eleventh.write(GET).expect("write a request");
    eleventh.patience(Duration::from_millis(300));
    assert_eq!(eleventh.read_to_end(), Outcome::TimedOut, "all workers are full");
    let mut served: BTreeMap<u64, usize> = BTreeMap::new();
    for connection in &mut held {
        *served.entry(connection.finish().reply().worker()).or_default() += 1;
    }
    assert_eq!(served, BTreeMap::from([(2, 1), (3, 9)]));
    eleventh.patience(Duration::from_secs(5));
    assert_ne!(eleventh.read_to_end().reply().worker(), 1, "it is served as soon as there is room");
    cluster.stop();
}

/// Mutation: receive without a look at MSG_CTRUNC, or up to the last descriptor.
#[test]
fn s04_a_worker_without_descriptors_costs_nobody_a_connection() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let mut control = Connection::to(&address);
    let poor = control.ask("/").pid();
    // Room for one connection more, and no worker can know before it has tried.
    control.ask(&format!("/limit/{}", process::next_descriptor(poor) + 1));
    let mut held: Vec<_> = (0..100).map(|_| Connection::to(&address)).collect();
    held.iter_mut().for_each(Connection::begin);
    let pids = held.iter_mut().map(|client| client.finish().reply().pid());
    let by_poor = pids.filter(|pid| *pid == poor).count();
    assert!(by_poor <= 1, "it can't have had more: {by_poor}");
    drop((held, control));
    cluster.stop();
}
