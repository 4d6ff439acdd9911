//! axum in workers.

use std::net::TcpStream;
use std::{env, process};

use cluster_framework_tests::stop;
use cluster_tests::client::{Outcome, ask, attempt};
use cluster_tests::{Cluster, Signal};
use tungstenite::Message;

/// Mutation: give every connection to the first worker; tell the server another address than the client's.
#[test]
fn axum_serves_by_turns_and_knows_who_connects() {
    stop::by_turns_to("axum", "/client");
}

/// Mutation: resolve `shutdown_signal` without the last call; drop the lanes' content.
#[test]
fn p42_axum_loses_nothing_over_tcp() {
    stop::under_load("axum", "127.0.0.1:0");
}

/// Mutation: as for TCP; leave the socket's file.
#[test]
fn p42_axum_loses_nothing_over_a_unix_socket() {
    let path = env::temp_dir().join(format!("cluster-axum-{}.sock", process::id()));
    stop::under_load("axum", &format!("unix:{}", path.display()));
}

/// Mutation: resolve `shutdown_signal` when the drain begins, or without the last call.
#[test]
fn p42_axum_answers_what_is_begun_and_what_is_queued() {
    let outcomes = stop::with_a_queue(Cluster::of("axum").workers(2).start());
    assert!(stop::unanswered(&outcomes).is_empty(), "{outcomes:?}");
}

/// The control: a server that hears SIGTERM by itself stops too early, and the judge says so.
#[test]
fn p42_control_axum_with_a_signal_of_its_own_loses_what_is_queued() {
    let mut cluster = Cluster::of("axum").workers(2).env("TEST_OWN_SIGNAL", 1).start();
    cluster.expect_log("no worker was left to serve them");
    let outcomes = stop::with_a_queue(cluster);
    assert!(!stop::unanswered(&outcomes).is_empty(), "{outcomes:?}");
}

/// Mutation: end the worker at its drain.
#[test]
fn p50_a_websocket_of_axum_lives_through_the_drain() {
    let mut cluster = Cluster::start("axum", 2);
    let address = cluster.up(2);
    let stream = TcpStream::connect(&address).expect("connect");
    let (mut socket, _) = tungstenite::client(format!("ws://{address}/socket"), stream).expect("a WebSocket");
    let mut echo = |text: &str| {
        socket.send(Message::text(text)).expect("send");
        assert_eq!(socket.read().expect("an echo"), Message::text(text));
    };
    echo("before");
    cluster.signal(Signal::TERM);
    cluster.eventually("connections to be refused", || attempt(&address, "/") == Outcome::Refused);
    echo("meanwhile");
    socket.close(None).expect("close");
    while socket.read().is_ok() {}
    cluster.ends(0);
}

/// Mutation: have an unclustered `cluster::net` accept nothing, or `shutdown_signal` not hear SIGTERM there.
#[test]
fn axum_serves_unclustered_too() {
    let path = env::temp_dir().join(format!("cluster-axum-alone-{}.sock", process::id()));
    let address = format!("unix:{}", path.display());
    let mut cluster = Cluster::of("axum").workers(0).bind(&address).start();
    cluster.eventually("it serves", || matches!(attempt(&address, "/"), Outcome::Answered(_)));
    assert_eq!(ask(&address, "/").pid(), cluster.pid());
    cluster.stop();
}
