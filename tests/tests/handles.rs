//! What handles of workers say, and what is asked of them again and again.

use cluster_tests::client::{ask, attempt};
use cluster_tests::{Cluster, Event, Signal, Story};

/// What the handle said at each event: state, connected, dead, voluntary.
fn told<'a>(story: &'a Story, id: u64) -> Vec<(&'a str, [&'a str; 4])> {
    let number = id.to_string();
    let of = |event: &'a Event| match event {
        Event::Said(line) => {
            let words: Vec<_> = line.strip_prefix("at ")?.split(' ').collect();
            let [event, of, state, connected, dead, asked] = words[..] else { return None };
            (of == number).then_some((event, [state, connected, dead, asked]))
        }
        _ => None,
    };
    story.events().filter_map(of).collect()
}

/// Each event once at most, in its order, from fork to exit.
fn is_a_life(story: &Story, id: u64) {
    let life = story.life(id);
    let mut rest = ["fork", "online", "listening", "disconnect", "exit"].iter();
    assert!(life.iter().all(|name| rest.any(|next| next == name)), "worker {id}: {life:?}\n{story}");
    assert!(
        life.starts_with(&["fork"]) && life.ends_with(&["disconnect", "exit"]),
        "{id}: {life:?}\n{story}"
    );
}

/// Mutation: any line of `desk::update` or `desk::ended`.
#[test]
fn n79_dead_and_connected_are_told_at_each_event() {
    let mut cluster = Cluster::start("handles", 1);
    let address = cluster.up(1);
    ask(&address, "/say/hello");
    cluster.expect_log("status 42");
    drop(attempt(&address, "/exit/42"));
    cluster.exit(1);
    cluster.up(1);
    let story = cluster.stop();
    let life = [
        ("fork", ["None", "true", "false", "false"]),
        ("online", ["Online", "true", "false", "false"]),
        ("listening", ["Listening", "true", "false", "false"]),
        ("message", ["Listening", "true", "false", "false"]),
        ("disconnect", ["Disconnected", "false", "false", "false"]),
        ("exit", ["Dead", "false", "true", "false"]),
    ];
    assert_eq!(told(&story, 1), life, "{story}");
    let end = [
        ("disconnect", ["Disconnected", "false", "false", "true"]),
        ("exit", ["Dead", "false", "true", "true"]),
    ];
    assert_eq!(told(&story, 2)[3..], end, "a stop is known to be voluntary before it is told: {story}");
}

/// Mutation: publish `disconnect` once more where a worker is told to leave that has left.
#[test]
fn n06_disconnect_and_kill_are_nothing_to_one_that_has_left() {
    let mut cluster = Cluster::of("handles")
        .workers(2)
        .env("TEST_DISCONNECT", "disconnect exit")
        .env("TEST_KILL", "disconnect exit")
        .start();
    let address = cluster.up(2);
    ask(&address, "/disconnect/1");
    let exit = cluster.exit(1);
    assert_eq!((exit.code, exit.voluntary), (Some(0), true));
    assert_eq!(ask(&address, "/").worker(), 2);
    let story = cluster.stop();
    is_a_life(&story, 1);
    is_a_life(&story, 2);
}

/// Mutation: take a disconnect for no wish; drain only who is ready.
#[test]
fn n70_disconnect_and_kill_in_every_state_twice_and_mixed() {
    for event in ["unborn", "fork", "online", "listening", "message"] {
        for how in ["TEST_DISCONNECT", "TEST_KILL", "both"] {
            let mut plan = Cluster::of("handles").workers(1).env("CLUSTER_RESTART", "never");
            for name in ["TEST_DISCONNECT", "TEST_KILL"].iter().filter(|name| ["both", name].contains(&how)) {
                plan = plan.env(name, event);
            }
            if event == "unborn" {
                plan = plan.env("TEST_UNBORN", 1);
            }
            let mut cluster = plan.start();
            if how != "TEST_DISCONNECT" {
                cluster.expect_log("cluster[");
            }
            if event == "message" {
                let address = cluster.up(1);
                drop(attempt(&address, "/say/hello"));
            }
            let exit = cluster.exit(1);
            // Asked for both, it may be gone before it is killed.
            let (left, killed) = (exit.code == Some(0), exit.signal.as_deref() == Some("SIGKILL"));
            assert!(if how == "both" { left || killed } else { killed == (how == "TEST_KILL") }, "{exit:?}");
            assert_eq!(exit.voluntary, how != "TEST_KILL", "{event} {how}");
            if event == "unborn" {
                cluster.listening(2);
                cluster.stop();
                continue;
            }
            // Killed before anybody was ready, it is what ends the program; else it is the last one's end.
            let story = cluster.ends(if how == "TEST_KILL" { 137 } else { 0 });
            is_a_life(&story, 1);
        }
    }
}

/// Mutation: wait, at a stop, for workers to listen first.
#[test]
fn n19_disconnect_right_after_fork() {
    for fixture in ["TEST_STOP", "TEST_DISCONNECT"] {
        let cluster = Cluster::of("handles").workers(4).env(fixture, "fork").start();
        let story = cluster.ends(0);
        assert!(story.addresses().is_empty() && story.forks().count() > 0, "{story}");
        story.forks().for_each(|fork| is_a_life(&story, fork.id));
        let ends = |exit: &cluster_tests::Exited| exit.voluntary && exit.reason == "Asked";
        assert!(story.exits().all(ends), "{story}");
    }
}

/// Mutation: leave a stop that finds nobody unnoticed; keep the status of one that had died before it was asked for.
#[test]
fn n24_disconnect_without_workers_ends_the_cluster() {
    for (name, status) in [("TEST_STOP", 0), ("TEST_NOTHING", 137)] {
        let mut cluster =
            Cluster::of("handles").workers(1).env("CLUSTER_RESTART", "never").env(name, "exit").start();
        cluster.up(1);
        cluster.expect_log("SIGKILL");
        cluster.signal_worker(1, cluster_tests::Signal::KILL);
        let story = cluster.ends(status);
        assert_eq!(story.forks().count(), 1, "{story}");
    }
}

/// Mutation: publish an event twice, or forget one; leave a process, or a callback's wish that nobody can obey.
#[test]
fn n06_a_storm_of_wishes_ends_processes_and_nothing_else() {
    for _ in 0..5 {
        let mut cluster = Cluster::of("storm").start();
        cluster.expect_log("worker ");
        let story = cluster.ends(0);
        assert!(story.forks().count() > 8, "a storm: {story}");
        story.forks().for_each(|fork| is_a_life(&story, fork.id));
        assert_eq!(story.forks().count(), story.exits().count(), "{story}");
    }
}

/// Mutation: report every end that was not asked for as an error.
#[test]
fn a_worker_that_a_callback_sends_sigterm_is_replaced_and_no_error() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    ask(&address, &format!("/kill/1/{}", Signal::TERM.as_raw()));
    let exit = cluster.exit(1);
    assert_eq!((exit.code, exit.voluntary, exit.reason.as_str()), (Some(0), false, "Finished"));
    cluster.listening(3);
    cluster.up(2);
    cluster.stop();
}
