//! Floods of connections and of messages: what else happens has its turn in the middle of them.
//!
//! The primary stands still while the flood comes, and so does what it must not delay. What is left of the flood when that is
//! told of is counted by the kernel, or by the primary itself: a slow machine changes nothing about it.

use cluster_tests::client::{Connection, Outcome};
use cluster_tests::{Cluster, PATIENCE, Signal, process};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

/// Stops the primary.
fn stop(cluster: &mut Cluster) {
    cluster.signal(Signal::STOP);
    let primary = cluster.pid();
    cluster
        .eventually("the primary to stop", || process::state(primary).is_some_and(|(state, _)| state == 'T'));
}

/// Kills a worker, and waits until there is an end to be told of: until it has a processor to die on, there is none.
fn dies(cluster: &mut Cluster, id: u64) {
    let pid = cluster.fork(id).pid;
    cluster.signal_worker(id, Signal::KILL);
    cluster.check(process::exits_within(pid, PATIENCE), "the worker to be dead");
}

/// A connection to this worker, kept open.
fn to_worker(address: &str, id: u64) -> Connection {
    let mut connections = std::iter::repeat_with(|| {
        let mut connection = Connection::to(address);
        let worker = connection.ask("/").worker();
        (worker, connection)
    });
    connections.by_ref().take(64).find(|(worker, _)| *worker == id).expect("each has its turn").1
}

/// What the primary tells of the flood at this: how much it has heard, and how many clients wait.
fn told(cluster: &mut Cluster, at: &str) -> (usize, usize) {
    let prefix = format!("flood: at a {at} ");
    cluster.until(&format!("the flood at a {at}"), |story| {
        let text = story.to_string();
        let line = text.lines().find_map(|line| line.split_once(&prefix))?.1;
        let mut words = line.split(' ');
        let heard = words.next()?.parse().ok()?;
        Some((heard, words.nth(1)?.parse().ok()?))
    })
}

/// What came after eight hundred connections is told of while most of them still wait to be accepted.
///
/// Mutation: accept until there is nobody left before anything else has its turn.
#[test]
fn s29_in_a_flood_of_connections_a_signal_a_message_and_an_end_have_their_turn() {
    const CLIENTS: usize = 800;
    let mut cluster = Cluster::of("flooded").workers(2).start();
    let address = cluster.up(2);
    cluster.expect_log("SIGKILL");
    let mut speaks = to_worker(&address, 1);
    stop(&mut cluster);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Connection::to(&address)).collect();
    assert_eq!(speaks.ask("/say/hello").status, 200);
    dies(&mut cluster, 2);
    cluster.signal(Signal::WINCH);
    cluster.signal(Signal::CONT);
    for at in ["signal", "message", "end"] {
        let (_, waiting) = told(&mut cluster, at);
        cluster.check(waiting >= CLIENTS / 2, &format!("more than {waiting} to wait at a {at}"));
    }
    for client in &mut clients {
        client.write(GET).expect("write a request");
    }
    // Who was killed had not read any of them: all that it was given came back.
    for client in &mut clients {
        let outcome = client.read_to_end();
        cluster.check(matches!(outcome, Outcome::Answered(_)), &format!("an answer, not {outcome:?}"));
    }
    cluster.up(2);
    cluster.stop();
}

/// What came after the flood of another worker's messages is told of while most of that is still unheard; and all of it is
/// heard in the end.
///
/// Mutation: read a channel until it is empty before anything else has its turn.
#[test]
fn s15_in_a_flood_of_one_workers_messages_everything_else_has_its_turn() {
    let mut cluster = Cluster::of("flooded").workers(2).start();
    let address = cluster.up(2);
    cluster.expect_log("SIGKILL");
    let (mut floods, mut speaks) = (to_worker(&address, 1), to_worker(&address, 2));
    stop(&mut cluster);
    let poured = floods.ask("/pour").body;
    let poured: usize = poured.trim_start_matches("poured ").parse().expect("a number of messages");
    assert!(poured > 1000, "{poured} messages are no flood");
    assert_eq!(speaks.ask("/say/hello").status, 200);
    let mut client = Connection::to(&address);
    client.write(GET).expect("write a request");
    dies(&mut cluster, 2);
    cluster.signal(Signal::WINCH);
    cluster.signal(Signal::CONT);
    for at in ["signal", "message", "end"] {
        let (heard, _) = told(&mut cluster, at);
        cluster.check(heard <= poured / 2, &format!("less than {heard} of {poured} to be heard at a {at}"));
    }
    let _ = client.read_to_end().reply();
    cluster.up(2);
    cluster.said(&format!("flood: {} heard", poured / 100 * 100));
    cluster.stop();
}
