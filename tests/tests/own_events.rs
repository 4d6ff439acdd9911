//! Callbacks of one worker, beside those of all.

use cluster_tests::client::{ask, attempt};
use cluster_tests::{Cluster, Event, Signal};

/// What was said of worker `id`: its own callbacks' lines, and the names of the events.
fn told(story: &cluster_tests::Story, id: u64) -> Vec<String> {
    let number = id.to_string();
    let of = |event: &Event| match event {
        Event::Said(line) if line.split(' ').nth(2) == Some(&number) => {
            Some(line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        }
        Event::Said(line) if line.starts_with(&format!("dropped {id} ")) => Some("dropped".to_owned()),
        event if event.id() == Some(id) => Some(event.name().to_owned()),
        _ => None,
    };
    story.events().filter_map(of).collect()
}

/// Mutation: call the cluster's callbacks before the worker's own; keep them when the worker is gone; call them without a
/// guard.
#[test]
fn n74_a_workers_own_callbacks_come_first_and_once() {
    let mut cluster = Cluster::start("own_events", 1);
    let address = cluster.up(1);
    ask(&address, "/say/hello");
    cluster.expect_log("thread 'main'");
    cluster.expect_log("a bug in a worker's own callback");
    cluster.expect_log("Worker::on_exit panicked; the cluster goes on");
    cluster.expect_log("status 42");
    drop(attempt(&address, "/exit/42"));
    cluster.exit(1);
    cluster.up(1);
    let primary = cluster.pid();
    let story = cluster.stop();
    let life = [
        "fork",
        "own online",
        "online",
        "own listening",
        "listening",
        "own message",
        "message",
        "own disconnect",
        "disconnect",
        "own exit",
        "added exit",
        "dropped",
        "exit",
    ];
    assert_eq!(told(&story, 1), life, "{story}");
    assert!(story.said("added exit 1 Some(42)") && story.said("added exit 2 Some(0)"), "{story}");
    assert!(story.said(&format!("dropped 2 in {primary}")), "each has its own: {story}");
    let elsewhere = |event: &&Event| matches!(event, Event::Said(line) if line.starts_with("never"));
    assert_eq!(story.events().find(elsewhere), None, "{story}");
}

/// Mutation: drop the callbacks in the child; keep them past their worker.
#[test]
fn n74_what_callbacks_captured_is_dropped_in_the_primary_only_and_with_its_worker() {
    let mut cluster = Cluster::start("own_events", 2);
    let primary = cluster.pid();
    cluster.expect_log("was killed by SIGKILL");
    for part in ["thread 'main'", "a bug in a worker's own callback", "Worker::on_exit panicked"] {
        cluster.expect_log(part);
    }
    for id in 1..=20 {
        // The two slots take turns: a child is born while the other worker's callbacks are there.
        cluster.signal_worker(id, Signal::KILL);
        cluster.exit(id);
        cluster.said(&format!("dropped {id} in {primary}"));
        cluster.up(2);
    }
    let story = cluster.stop();
    let dropped: Vec<_> = story
        .events()
        .filter_map(|event| match event {
            Event::Said(line) => line.strip_prefix("dropped ")?.split_once(" in "),
            _ => None,
        })
        .collect();
    assert_eq!(dropped.len(), 22, "each once: {story}");
    assert!(dropped.iter().all(|(_, pid)| *pid == primary.to_string()), "{story}");
}
