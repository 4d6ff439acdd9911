//! Sockets of `cluster::net`: how connections come, and how their workers end.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_tests::client::Connection;
use cluster_tests::control::Client;
use cluster_tests::{Cluster, Signal};

/// Mutation: let the lane's end be an error of `accept`; count lanes of `cluster::net` as somebody who ends by himself;
/// do not count connections.
#[test]
fn n66_a_loop_that_only_accepts_ends_with_its_last_connection() {
    let mut cluster = Cluster::start("net_echo", 2);
    let address = cluster.up(2);
    let mut clients: Vec<Client> = (0..4).map(|_| Client::to(&address)).collect();
    let workers: BTreeSet<u64> = clients.iter().map(|client| client.worker).collect();
    assert_eq!(workers, BTreeSet::from([1, 2]));
    cluster.signal(Signal::TERM);
    cluster.logged("SIGTERM: stopping");
    for client in &mut clients {
        client.echoes("still here");
    }
    cluster.check(cluster.story().exits().count() == 0, "both workers to stay while they are busy");
    clients.into_iter().for_each(Client::end);
    let story = cluster.ends(0);
    assert_eq!(story.exits().filter(|exit| exit.code == Some(0) && exit.voluntary).count(), 2, "{story}");
}

/// Mutation: end `incoming()` with an error, or not at all.
#[test]
fn n66_incoming_ends_and_main_returns_when_it_likes() {
    let mut cluster = Cluster::start("net_incoming", 2);
    let address = cluster.up(2);
    let mut held = Client::to(&address);
    cluster.signal(Signal::TERM);
    cluster.said("incoming 1 ended");
    cluster.said("incoming 2 ended");
    held.echoes("still here");
    held.end();
    let story = cluster.ends(0);
    assert!(story.said("finished 1") && story.said("finished 2"), "{story}");
}

/// Mutation: resolve the signal when the drain begins.
#[test]
fn n66_the_shutdown_signal_lets_main_return() {
    let mut cluster = Cluster::start("net_signal", 2);
    let address = cluster.up(2);
    Client::to(&address).end();
    cluster.signal(Signal::TERM);
    cluster.said("signalled 1");
    cluster.said("signalled 2");
    cluster.ends(0);
}

/// Mutation: leave the file.
#[test]
fn n31_a_unix_socket_serves_and_its_file_goes() {
    let path = std::env::temp_dir().join(format!("cluster-n31-{}.sock", std::process::id()));
    let address = format!("unix:{}", path.display());
    let mut cluster = Cluster::of("net_echo").workers(2).bind(&address).start();
    cluster.up(2);
    let mut connection = Connection::to(&address);
    connection.write(b"hello").expect("write");
    connection.half_close();
    cluster.check(connection.is_closed_within(Duration::from_secs(5)), "the connection to end");
    cluster.stop();
    assert!(!path.exists());
}
