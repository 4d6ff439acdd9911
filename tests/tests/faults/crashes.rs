//! A process dies at its Nth call of a kind.

use std::time::Duration;

use cluster_tests::client::{Connection, Outcome, ask};
use cluster_tests::faults::Fault;
use cluster_tests::{Cluster, can_inject};

use super::{GET, crowd};

/// A worker is killed where it would receive for the Nth time. It has died before that: the connection is still on its
/// lane.
///
/// Mutation: do not read a dead worker's lane back.
#[test]
fn g1_a_sweep_of_crashes_while_receiving_costs_no_more_than_what_was_received() {
    if !can_inject() {
        return;
    }
    let mut died = 0;
    for n in 1..=16 {
        let mut cluster = Cluster::start("serve", 2);
        let address = cluster.up(2);
        let pid = cluster.fork(1).pid;
        let mut fault = Fault::attach(pid, &format!("recvmsg:signal=SIGKILL:when={n}"));
        let mut clients = crowd(&address, 16);
        // strace may keep a dead process from being reaped, and so from being missed, until it ends itself.
        fault.end_with(pid);
        let outcomes: Vec<Outcome> = clients.iter_mut().map(|client| client.read_to_end()).collect();
        let received = fault.end().matches("SCM_RIGHTS").count();
        let lost: Vec<_> = outcomes.iter().filter(|end| !matches!(end, Outcome::Answered(_))).collect();
        // What is lost, the dead one had; and what it had was at most what it received before.
        cluster.check(lost.len() <= received, &format!("at N={n}, {received} received and lost: {lost:?}"));
        let torn = lost.iter().any(|end| matches!(end, Outcome::TimedOut | Outcome::Refused));
        cluster.check(!torn, &format!("at N={n}, each to be answered or closed: {lost:?}"));
        if !cluster_tests::process::carries(pid, cluster.mark()) {
            died += 1;
            cluster.expect_log("SIGKILL");
            cluster.exit(1);
        }
        cluster.up(2);
        assert_eq!(ask(&address, "/").status, 200);
        cluster.stop();
    }
    assert!(died >= 8, "it was killed {died} times only: is this the call?");
}

/// Mutation: let a worker live on when its primary is gone.
#[test]
fn p25_a_primary_that_dies_at_any_hand_over_leaves_nothing() {
    if !can_inject() {
        return;
    }
    for n in 1..=8 {
        let mut cluster = Cluster::start("serve", 2);
        let address = cluster.up(2);
        let fault = Fault::attach(cluster.pid(), &format!("sendmsg:signal=SIGKILL:when={n}"));
        // It may be dead before all of them have come.
        let mut clients: Vec<_> = (0..12).filter_map(|_| Connection::open(&address).ok()).collect();
        clients.retain_mut(|client| client.write(GET).is_ok());
        // What it had handed over before may still be answered; the others are told by an end.
        for client in &mut clients {
            let outcome = client.read_to_end();
            cluster.check(outcome != Outcome::TimedOut, &format!("at N={n}, an end for everybody"));
        }
        drop(fault);
        let workers = cluster.orphaned_by(Some(-9), Duration::from_secs(10));
        assert_eq!(workers, [0, 0], "at N={n}");
        let mut again = Cluster::of("serve").workers(2).bind(&address).start();
        assert_eq!(again.up(2), address, "the port is free");
        again.stop();
    }
}
