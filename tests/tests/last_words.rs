//! What a worker said last, before the news of its end.

use cluster_tests::{Cluster, PATIENCE, Signal, Story, process};

/// How many messages were heard before `disconnect` and before `exit`, which come once each, in this order.
fn heard(story: &Story) -> usize {
    let life = story.life(1);
    assert_eq!(life[life.len() - 2..], ["disconnect", "exit"], "{story}");
    assert_eq!(life.iter().filter(|name| ["disconnect", "exit"].contains(name)).count(), 2, "{story}");
    let by = |end: &str| {
        let mut said = story.events().filter_map(|event| match event {
            cluster_tests::Event::Said(line) => line.strip_prefix("heard ")?.strip_suffix(end)?.parse().ok(),
            _ => None,
        });
        let count: usize = said.next().unwrap_or_else(|| panic!("nothing about{end}: {story}"));
        count
    };
    assert_eq!(by(" by disconnect"), by(" by exit"), "something was said after the channel's end: {story}");
    by(" by exit")
}

fn dies(how: &str, count: usize, size: usize, log: &[&str], status: i32) -> usize {
    let plan = Cluster::of("last_words").env("TEST_HOW", how);
    let mut cluster = plan.env("TEST_COUNT", count).env("TEST_SIZE", size).start();
    log.iter().for_each(|part| cluster.expect_log(part));
    heard(&cluster.ends(status))
}

const PANIC: &[&str] = &["thread 'main'", "its last words are said", "status 101"];

/// Mutation: do not wait for the outbox at the exit.
#[test]
fn r06_all_that_was_sent_is_heard_before_an_orderly_end() {
    // Small ones by the thousand, and far more bytes than the socket takes.
    for (count, size) in [(5000, 10), (60, 400_000)] {
        assert_eq!(dies("return", count, size, &["status 0"], 0), count);
        assert_eq!(dies("exit", count, size, &["status 7"], 7), count);
        assert_eq!(dies("panic", count, size, PANIC, 101), count);
    }
}

/// Mutation: publish the end before the last words are read; take a message that breaks off for one.
#[test]
fn r06_what_was_written_is_heard_before_any_end() {
    for (how, log, status) in [("abort", "SIGABRT", 134), ("kill", "SIGKILL", 137)] {
        // So few that the socket takes them at once, and the worker is dead before they are read.
        assert_eq!(dies(how, 100, 10, &[log], status), 100, "{how}");
        for (count, size) in [(5000, 10), (60, 400_000)] {
            // In order and without a gap, which the fixture checks; as many as were written.
            assert!(dies(how, count, size, &[log], status) <= count, "{how}");
        }
    }
}

/// Mutation: as above.
#[test]
fn r06_a_worker_that_is_killed_while_it_talks() {
    let plan = Cluster::of("last_words").env("TEST_HOW", "kill");
    let mut cluster = plan.env("TEST_COUNT", 30_000).env("TEST_SIZE", 1000).start();
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    let _ = heard(&cluster.ends(137));
}

/// The primary has slept meanwhile: it finds the last words, more than it reads at once, and the end together. Mutation:
/// obey what a callback asked for only after the end that came with it.
#[test]
fn n34_what_a_callback_makes_of_last_words_is_obeyed_before_the_end() {
    let plan = Cluster::of("last_words").env("TEST_HOW", "kill").env("TEST_STOP", 1);
    let mut cluster = plan.env("TEST_COUNT", 9).env("TEST_SIZE", 8000).start();
    // Told by the worker: the primary may sleep before it has told of the birth.
    let pid = cluster.until("the worker's pid", |story| {
        story.events().find_map(|event| match event {
            cluster_tests::Event::Said(line) => line.strip_prefix("pid ")?.parse().ok(),
            _ => None,
        })
    });
    cluster.check(process::exits_within(pid, PATIENCE), "the worker to be dead");
    cluster.signal(Signal::CONT);
    let story = cluster.ends(0);
    assert_eq!(heard(&story), 9);
    assert!(story.exits().all(|exit| exit.voluntary), "it was asked to leave by then: {story}");
}
