//! What is promised, in short: each under every kind of client, and under the judge's eyes. At length it is
//! `cargo run --release -p cluster-tests --example nothing_lost`.

use std::time::Duration;

use cluster_tests::claims::{self, Claim, RELOADS};
use cluster_tests::forks;

fn holds(claim: &Claim) {
    println!("{}\n{claim}\n\n{}", Claim::head(), claim.verdict);
    assert!(claim.holds(), "{}", claim.faults.join("; "));
}

/// Mutation: skip the last call of `actix/drain.rs`.
#[test]
fn p60_reloads_are_noticed_by_no_kind_of_client() {
    holds(&claims::reloads(5, Duration::ZERO));
}

/// Mutation: do not read a dead worker's lane back.
#[test]
fn p76_kills_cost_only_what_the_killed_held() {
    holds(&claims::kills(20, Duration::ZERO));
}

/// Mutation: end what is coming by ending the one that it was to replace.
#[test]
fn p62_broken_configurations_change_nothing() {
    // Without a nursery preload is a part of the worker, and told of as such.
    let reloads = if forks() { &RELOADS[..] } else { &RELOADS[..5] };
    holds(&claims::broken_reloads(reloads, Duration::ZERO));
}

/// Mutation: neither PDEATHSIG nor the channel's end is acted upon.
#[test]
fn p25_the_primary_is_killed_under_load_and_the_next_one_serves_at_once() {
    holds(&claims::primary_killed(1));
}

/// The control: a server that opens its listener anew loses, and the judge says so.
#[test]
fn control_a_server_that_reopens_does_not_pass() {
    holds(&claims::control(3));
}
