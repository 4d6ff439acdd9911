//! What is promised, in short: each under every kind of client, and under the judge's eyes. At length it is
//! `cargo run --release -p cluster-tests --example nothing_lost`.

use std::time::Duration;

use cluster_tests::claims::{self, Claim, FALLEN, RELOADS, UNFIT};

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
    holds(&claims::broken_reloads(&RELOADS, Duration::ZERO));
}

/// Mutation: as above; forget who died while the primary was executed.
#[test]
fn p76_kills_meanwhile_cost_no_more_and_no_upgrade_and_no_reload_hangs() {
    holds(&claims::kills_meanwhile(20, Duration::ZERO));
}

/// Mutation: leave the listening sockets CLOEXEC.
#[test]
fn p82_upgrades_to_another_program_and_back_are_noticed_by_no_kind_of_client() {
    holds(&claims::upgrades(5, Duration::ZERO));
}

/// Mutation: execute the program without having asked it.
#[test]
fn p85_programs_that_are_not_fit_change_nothing() {
    holds(&claims::broken_deploys("upgrades to programs that are not fit", &UNFIT, Duration::ZERO));
}

/// Mutation: go on with the new program when its first worker has failed.
#[test]
fn p105_programs_that_fail_in_the_primarys_place_give_it_back() {
    holds(&claims::broken_deploys("upgrades to programs that fail in its place", &FALLEN, Duration::ZERO));
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
