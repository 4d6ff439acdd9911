//! More clients than the workers may have connections.

use std::time::Duration;

use cluster_tests::client::{Connection, Outcome, attempt};
use cluster_tests::{Cluster, Event};

/// Two workers that may have one connection each, and have it. Past that, a connection waits on a lane at most.
fn full(overload: Option<&str>) -> (Cluster, String, Vec<Connection>) {
    let mut plan = Cluster::of("serve").workers(2).env("CLUSTER_MAX_CONNECTIONS", 1);
    if let Some(overload) = overload {
        plan = plan.env("CLUSTER_OVERLOAD", overload);
    }
    let mut cluster = plan.start();
    let address = cluster.up(2);
    let mut held: Vec<_> = (0..2).map(|_| Connection::to(&address)).collect();
    held.iter_mut().for_each(Connection::begin);
    (cluster, address, held)
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

/// Mutation: leave those on the lanes of full workers where they are; say it for
/// each; go on refusing when there is room.
#[test]
fn r53_who_finds_every_worker_full_is_turned_away_where_that_is_wanted() {
    let (mut cluster, address, mut held) = full(Some("refuse"));
    for _ in 0..20 {
        let outcome = attempt(&address, "/");
        assert!(matches!(outcome, Outcome::Lost(_) | Outcome::Reset), "{outcome:?}");
    }
    let mut one = held.pop().expect("two are held");
    let _ = one.finish().reply();
    cluster.eventually("room again", || matches!(attempt(&address, "/"), Outcome::Answered(_)));
    held.iter_mut().for_each(|held| drop(held.finish().reply()));
    cluster.logged("were turned away");
    let story = cluster.stop();
    let said = story.log().filter(|line| line.contains("are turned away")).count();
    assert_eq!(said, 1, "one line while it lasts: {story}");
    assert_eq!(story.events().filter(|event| matches!(event, Event::Exit(_))).count(), 2, "{story}");
}

/// The default, and the control of the other. Mutation: refuse where nobody said so.
#[test]
fn r53_by_default_they_wait() {
    let (cluster, address, mut held) = full(None);
    let mut waiting: Vec<_> = (0..20).map(|_| Connection::to(&address)).collect();
    waiting.iter_mut().for_each(|client| client.write(GET).expect("write a request"));
    for client in &mut waiting {
        client.patience(Duration::from_millis(5));
        assert_eq!(client.read_reply(), Outcome::TimedOut);
        client.patience(Duration::from_secs(10));
    }
    held.iter_mut().for_each(|held| drop(held.finish().reply()));
    waiting.iter_mut().for_each(|client| assert_eq!(client.read_reply().reply().status, 200));
    cluster.stop();
}

/// Mutation: take "nobody serves" for "everybody is full".
#[test]
fn r53_while_no_worker_is_up_clients_wait_though_refusing_is_wanted() {
    let mut cluster = Cluster::of("serve").workers(1).env("CLUSTER_OVERLOAD", "refuse").start();
    let address = cluster.up(1);
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, cluster_tests::Signal::KILL);
    for _ in 0..20 {
        assert!(matches!(attempt(&address, "/"), Outcome::Answered(_)));
    }
    cluster.exit(1);
    cluster.stop();
}
