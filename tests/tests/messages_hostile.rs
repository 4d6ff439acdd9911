//! A worker that writes to its channel what the library would not.

use cluster_tests::{Cluster, Plan, Signal};

fn hostile(what: &str) -> Plan {
    Cluster::of("hostile").workers(2).env("TEST_HOSTILE", what)
}

/// The channel of worker 1 is closed for this reason; it goes and is replaced, and everybody else goes on.
fn is_cut_off(what: &str, reason: &str) {
    let mut cluster = hostile(what).start();
    cluster.expect_log(reason);
    cluster.expect_log("worker 1 (slot");
    cluster.logged(reason);
    cluster.exit(1);
    cluster.said("2 says all is well");
    cluster.said("3 says all is well");
    cluster.stop();
}

/// Mutation: allocate what was announced, or read on after a broken frame.
#[test]
fn r08_hostile_lengths_close_the_channel_and_harm_nobody_else() {
    for length in ["2147483647", "2147483648", "2147483649", "4294967295"] {
        is_cut_off(length, &format!("a frame of {length} bytes, over the limit of 16777216"));
    }
}

/// Mutation: take any version, or a second hello.
#[test]
fn a_second_hello_closes_the_channel() {
    is_cut_off("hello", "a second hello");
}

/// Mutation: take an answer that nobody waits for as an error of the channel.
#[test]
fn n32_forged_answers_are_ignored() {
    let mut cluster = hostile("forged").start();
    cluster.said("1 says all is well");
    cluster.said("2 says all is well");
    cluster.stop();
}

/// Mutation: no limit to what waits for a worker that asks and asks and does not read. It reads, here, so all is well.
#[test]
fn a_flood_of_questions_is_answered() {
    let mut cluster = hostile("flood").start();
    cluster.said("1 says all is well");
    cluster.said("2 says all is well");
    cluster.stop();
}

/// A descriptor of worker 1 waits in the primary for the rest of its frame while another image takes over, which finds all that
/// is open, and takes none of it for what it looks for.
fn is_passed_over_by_an_upgrade(what: &str) {
    let mut cluster = hostile(what).start();
    // What it says after that is taken for the rest of it.
    cluster.expect_log("worker 1");
    cluster.said("1 has begun");
    cluster.said("2 says all is well");
    cluster.signal(Signal::USR2);
    cluster.said("upgrade 2 ok");
    cluster.said("3 says all is well");
    cluster.said("4 says all is well");
    cluster.stop();
}

/// Mutation: take the first state that is found.
#[test]
fn s07_a_forged_state_is_passed_over_by_an_upgrade() {
    is_passed_over_by_an_upgrade("state");
}

/// Mutation: look for a question, or a birth, before the state.
#[test]
fn s07_a_forged_question_is_passed_over_by_an_upgrade() {
    is_passed_over_by_an_upgrade("question");
}
