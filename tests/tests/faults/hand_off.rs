//! On the way from the primary to a worker.

use std::time::Duration;

use cluster_tests::client::{Connection, ask};
use cluster_tests::faults::Fault;
use cluster_tests::{Cluster, Signal, can_inject};

use super::{GET, crowd};

/// Mutation: drop the connection that could not be sent; take any error for the end of the worker.
#[test]
fn s05_what_can_not_be_sent_to_one_worker_is_sent_to_another_or_later() {
    if !can_inject() {
        return;
    }
    for error in ["ETOOMANYREFS", "EAGAIN", "ENOBUFS", "ENOMEM", "EMSGSIZE", "EPIPE", "ECONNRESET", "EINTR"] {
        let mut cluster = Cluster::start("serve", 2);
        let address = cluster.up(2);
        let fault = Fault::attach(cluster.pid(), &format!("sendmsg:error={error}:when=2..7"));
        for mut client in crowd(&address, 12) {
            assert_eq!(client.read_to_end().reply().status, 200, "{error}");
        }
        assert_eq!(fault.injected(), 6, "{error}");
        drop(fault);
        let story = cluster.stop();
        assert_eq!(story.forks().count(), 2, "{error}: nobody was held to have died: {story}");
    }
}

/// Every hand-over fails for a while: clients wait, the primary rests between its attempts.
///
/// Mutation: try again at once, for as long as it takes.
#[test]
fn s05_while_nothing_can_be_sent_clients_wait_and_the_primary_is_calm() {
    if !can_inject() {
        return;
    }
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let fault = Fault::attach(cluster.pid(), "sendmsg:error=ETOOMANYREFS");
    let mut clients = crowd(&address, 10);
    cluster.listen_for(Duration::from_secs(1));
    let attempts = fault.injected();
    cluster.check((2..=400).contains(&attempts), &format!("a rest between attempts: {attempts} in a second"));
    drop(fault);
    for client in &mut clients {
        assert_eq!(client.read_to_end().reply().status, 200);
    }
    cluster.stop();
}

/// Mutation: take a shortage for the end of the lane, or of the channel.
#[test]
fn s04_a_worker_that_can_not_receive_for_a_moment_loses_nothing() {
    if !can_inject() {
        return;
    }
    for error in ["ENOMEM", "ENOBUFS", "EINTR"] {
        let mut cluster = Cluster::start("serve", 2);
        let address = cluster.up(2);
        let pid = cluster.fork(1).pid;
        let mut kept = [Connection::to(&address), Connection::to(&address)];
        kept.iter_mut().for_each(|kept| drop(kept.ask("/")));
        let fault = Fault::attach(pid, &format!("recvmsg:error={error}:when=1..5"));
        // Over the channel, too, and while connections are open.
        kept[0].ask("/tell/1/hello");
        for mut client in crowd(&address, 20) {
            assert_eq!(client.read_to_end().reply().status, 200, "{error}");
        }
        kept.iter_mut().for_each(|kept| assert_eq!(kept.ask("/").status, 200, "{error}"));
        cluster.said("heard 1 hello");
        assert!(fault.injected() >= 5, "{error}: nothing was injected");
        drop((fault, kept));
        let story = cluster.stop();
        assert_eq!(story.forks().count(), 2, "{error}: {story}");
    }
}

/// Mutation: take a shortage in the primary for the end of a worker's channel.
#[test]
fn s04_a_primary_that_can_not_hear_for_a_moment_loses_no_worker() {
    if !can_inject() {
        return;
    }
    for error in ["ENOMEM", "EINTR"] {
        let mut cluster = Cluster::start("serve", 2);
        let address = cluster.up(2);
        let fault = Fault::attach(cluster.pid(), &format!("recvmsg:error={error}:when=1..5"));
        ask(&address, "/say/one");
        ask(&address, "/say/two");
        cluster.until("both", |story| {
            let messages = story.events().filter(|event| event.name() == "message").count();
            (messages == 2).then_some(())
        });
        assert_eq!(fault.injected(), 5, "{error}");
        drop(fault);
        let story = cluster.stop();
        assert_eq!(story.forks().count(), 2, "{error}: {story}");
    }
}

/// A worker dies between the moment at which it is picked and that at which it is sent to.
///
/// Mutation: do not read a dead worker's lane back.
#[test]
fn g1_what_is_sent_to_a_worker_that_has_just_died_is_served_by_others() {
    if !can_inject() {
        return;
    }
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    cluster.expect_log("SIGKILL");
    let slowly = Fault::attach(cluster.pid(), "sendmsg:delay_enter=100000");
    // What it receives before it is dead is lost with it: it is to receive nothing, however late the signal comes.
    cluster.stop_worker(1);
    let mut clients: Vec<_> = (0..4).map(|_| Connection::to(&address)).collect();
    cluster.signal_worker(1, Signal::KILL);
    for client in &mut clients {
        client.write(GET).expect("write a request");
    }
    for client in &mut clients {
        assert_ne!(client.read_to_end().reply().worker(), 1);
    }
    drop(slowly);
    cluster.exit(1);
    cluster.up(2);
    cluster.stop();
}
