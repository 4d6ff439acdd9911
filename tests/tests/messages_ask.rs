//! Questions with an answer, both ways.

use cluster_tests::Cluster;

/// Mutation: answer by the last `on_ask` that can read; leave a panic, or a question that nobody reads, to its deadline.
#[test]
fn a_worker_asks_the_primary_and_always_hears_something() {
    let mut cluster = Cluster::of("questions").workers(1).start();
    cluster.expect_log("thread 'main'");
    cluster.expect_log("no answer for 1");
    cluster.expect_log("on_ask panicked; the cluster goes on");
    cluster.said("double is Ok(42)");
    cluster.said("panic is Err(Refused(\"its callback on_ask panicked; the primary's log says more\"))");
    cluster.until("the refusal of what nobody reads", |story| {
        story
            .to_string()
            .contains("a question was refused: it is not of a type that on_ask takes")
            .then_some(())
    });
    cluster.said("other type is true");
    cluster.stop();
}

/// Mutation: drop a worker's questions silently at its end, or after its exit; run what was cancelled.
#[test]
fn the_primary_asks_workers_and_always_hears_something() {
    let mut cluster = Cluster::of("questions").workers(1).env("TEST_ASK", "storm").start();
    cluster.expect_log("exited with status 7");
    cluster.exit(1);
    cluster.said("1 says Ok(\"worker 1\")");
    cluster.said("1 says Err(Refused(\"whoever read it in the worker dropped it\"))");
    cluster.said("1 says Err(Closed)");
    cluster.said("2 says Ok(\"worker 2\")");
    cluster.said("2 says Err(TimedOut { within: 50ms })");
    cluster.said("2 says Err(Refused(\"nobody in the worker reads questions of this type\"))");
    let story = cluster.stop().to_string();
    let at = |text: &str| story.find(text).unwrap_or(usize::MAX);
    assert!(at("1 says Err(Closed)") < at("exit 1 "), "told before the exit: {story}");
    assert!(!story.contains("Err(TimedOut { within: 0ns })"), "what was cancelled is not told: {story}");
}

/// Mutation: let an answer meet the next question, or keep what was given up.
#[test]
fn a_storm_of_questions_given_up_harms_none_of_the_others() {
    let mut cluster = Cluster::of("questions").workers(1).env("TEST_ASK", "storm").start();
    cluster.expect_log("exited with status 7");
    cluster.said("2 says Ok(\"worker 2\")");
    cluster.said("storm over");
    cluster.stop();
}

/// Mutation: read a message outside of the guard.
#[test]
fn a_message_whose_deserialize_panics_is_refused_and_the_loop_lives() {
    let mut cluster = Cluster::of("questions").workers(1).env("TEST_ASK", "bomb").start();
    cluster.expect_log("thread 'main'");
    cluster.expect_log("a bug in a Deserialize");
    cluster.expect_log("its Deserialize panicked");
    cluster.logged("a message of worker 1 is not of a type that on_message takes: its Deserialize panicked");
    cluster.said("1 says Ok(\"worker 1\")");
    cluster.stop();
}

/// Mutation: have the unclustered program ask nobody, or wait for its own callback for ever.
#[test]
fn unclustered_the_program_answers_itself() {
    let mut cluster = Cluster::of("questions").workers(0).start();
    cluster.expect_log("no answer for 1");
    cluster.expect_log("on_ask panicked; the cluster goes on");
    cluster.expect_log("thread 'main'");
    cluster.said("it says Ok(\"worker 1\")");
    cluster.said("double is Ok(42)");
    cluster.said("other type is true");
    cluster.stop();
}
