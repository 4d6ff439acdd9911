//! poem in workers.

use std::{env, process};

use cluster_framework_tests::stop;
use cluster_tests::Cluster;

/// Mutation: give every connection to the first worker; tell the server another address than the client's.
#[test]
fn poem_serves_by_turns_and_knows_who_connects() {
    stop::by_turns_to("poem", "/client");
}

/// Mutation: resolve `shutdown_signal` without the last call; drop the lanes' content.
#[test]
fn p42_poem_loses_nothing_over_tcp() {
    stop::under_load("poem", "127.0.0.1:0");
}

/// Mutation: as for TCP; leave the socket's file.
#[test]
fn p42_poem_loses_nothing_over_a_unix_socket() {
    let path = env::temp_dir().join(format!("cluster-poem-{}.sock", process::id()));
    stop::under_load("poem", &format!("unix:{}", path.display()));
}

/// Mutation: resolve `shutdown_signal` when the drain begins, or without the last call.
#[test]
fn p42_poem_answers_what_is_begun_and_what_is_queued() {
    let outcomes = stop::with_a_queue(Cluster::of("poem").workers(2).start());
    assert!(stop::unanswered(&outcomes).is_empty(), "{outcomes:?}");
}

/// The control: a server that hears SIGTERM by itself stops too early, and the judge says so.
#[test]
fn p42_control_poem_with_a_signal_of_its_own_loses_what_is_queued() {
    let mut cluster = Cluster::of("poem").workers(2).env("TEST_OWN_SIGNAL", 1).start();
    cluster.expect_log("no worker was left to serve them");
    let outcomes = stop::with_a_queue(cluster);
    assert!(!stop::unanswered(&outcomes).is_empty(), "{outcomes:?}");
}
