//! A worker that leaves: what it finishes, and what its own code decides.

use std::time::Duration;

use cluster_tests::client::{Connection, Outcome, ask, attempt};
use cluster_tests::{Cluster, Event, Exited, Signal, Story, process};

/// Mutation: end the process when the drain begins.
#[test]
fn n82_a_leaving_worker_stays_for_its_connection() {
    let mut cluster = Cluster::start("serve", 1);
    let address = cluster.up(1);
    let mut held = Connection::to(&address);
    held.begin();
    ask(&address, "/disconnect/1");
    cluster.listen_for(Duration::from_millis(300));
    let early = cluster.story().exits().count();
    cluster.check(early == 0, "the worker to stay while it is busy");
    assert_eq!(held.finish().reply().worker(), 1);
    let exit = cluster.exit(1);
    assert_eq!((exit.code, exit.voluntary), (Some(0), true));
    // Nobody is left, and nobody is to come.
    cluster.ends(0);
}

/// Mutation: publish `disconnect` when the worker is told to drain; keep idle connections open while draining.
#[test]
fn n83_disconnect_comes_after_the_last_connection() {
    let mut cluster = Cluster::start("serve", 1);
    let address = cluster.up(1);
    let mut idle = Connection::to(&address);
    idle.ask("/");
    let mut held = Connection::to(&address);
    held.begin();
    ask(&address, "/disconnect/1");
    assert!(idle.is_closed_within(Duration::from_secs(10)), "an idle connection is closed by the drain");
    // The drain began a while ago. What was printed then is read now: only waits read the story on.
    cluster.listen_for(Duration::from_millis(100));
    let early = cluster.story().life(1).contains(&"disconnect");
    cluster.check(!early, "no disconnect while a request is under way");
    let _ = held.finish().reply();
    cluster.exit(1);
    let story = cluster.ends(0);
    assert_eq!(story.life(1)[3..], ["disconnect", "exit"], "{story}");
}

/// Mutation: exit with 0 as soon as the drain is over, whatever the body still wants to do.
#[test]
fn n75_one_that_left_voluntarily_decides_its_code() {
    let mut cluster = Cluster::start("serve", 1);
    let address = cluster.up(1);
    ask(&address, "/leave/42");
    let exit = cluster.exit(1);
    assert_eq!((exit.code, exit.voluntary), (Some(42), true));
    cluster.ends(0);
}

/// Mutation: leave the worker's primary-is-gone signal unwatched.
#[test]
fn n75_one_whose_primary_is_gone_exits_with_0_even_if_its_code_never_would() {
    for fixture in ["stubborn", "idle"] {
        let mut cluster = Cluster::of(fixture).workers(2).start();
        cluster.said("body 1");
        cluster.said("body 2");
        // A worker may speak before the primary has told of its birth.
        cluster.fork(1);
        cluster.fork(2);
        cluster.signal(Signal::KILL);
        assert_eq!(cluster.orphaned(Duration::from_secs(10)), [0, 0]);
    }
}

/// The control of this file's claims: what is begun in a worker that is killed is lost, and the judge says so.
#[test]
fn n82_control_a_killed_worker_loses_what_it_has_begun() {
    let mut cluster = Cluster::start("serve", 1);
    let address = cluster.up(1);
    let mut held = Connection::to(&address);
    held.begin();
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.listening(2);
    let outcome = held.finish();
    assert!(matches!(outcome, Outcome::Lost(_) | Outcome::Reset), "{outcome:?}");
    assert!(matches!(attempt(&address, "/"), Outcome::Answered(_)));
    cluster.stop();
}

/// The worker's end was known to be voluntary when its channel's end was told, and when its own was.
fn was_voluntary(story: &Story) -> Exited {
    let life = story.life(1);
    assert_eq!(life[life.len() - 2..], ["disconnect", "exit"], "{story}");
    let known = |event: &Event| matches!(event, Event::Disconnect { id: 1, voluntary: true, state } if state == "disconnected");
    assert!(story.events().any(known), "known at the disconnect: {story}");
    let exit = story.exits().find(|exit| exit.id == 1).cloned().unwrap_or_else(|| panic!("no end: {story}"));
    assert!(exit.voluntary && exit.reason == "Asked", "known at the exit: {story}");
    exit
}

/// Mutation: wait for the outbox where `main` returns, and nowhere else; end the channel without the word that it leaves.
#[test]
fn n18_that_it_leaves_is_known_before_its_end_though_it_exits_at_once() {
    for (how, messages, code) in
        [("exit", 0, 0), ("exit", 100, 0), ("return", 0, 0), ("panic", 0, 101), ("itself", 0, 42)]
    {
        let mut cluster = Cluster::of("leaves").env("TEST_HOW", how).env("TEST_COUNT", messages).start();
        if how == "panic" {
            cluster.expect_log("thread 'main'");
            cluster.expect_log("it leaves in disorder");
        }
        if messages > 0 {
            cluster.said("heard 20000000");
        }
        let exit = was_voluntary(&cluster.ends(0));
        assert_eq!((exit.code, exit.signal), (Some(code), None), "{how}");
    }
}

/// Mutation: let only the worker's `disconnect` count; forget at a kill that the worker was asked to leave.
#[test]
fn n34_the_end_is_voluntary_whoever_asked_and_whatever_comes_first() {
    let begins: [fn(&mut Cluster, &str); 3] = [
        |_, address| drop(ask(address, "/leave/0")),
        |_, address| drop(ask(address, "/disconnect/1")),
        |cluster, _| cluster.signal(Signal::TERM),
    ];
    for begin in begins {
        let mut cluster = Cluster::start("serve", 1);
        let address = cluster.up(1);
        begin(&mut cluster, &address);
        assert_eq!(was_voluntary(&cluster.ends(0)).code, Some(0));
    }
    // Killed in the same breath: the wish that it leaves is one of its last words.
    let mut cluster = Cluster::start("serve", 1);
    let address = cluster.up(1);
    let mut held = Connection::to(&address);
    held.begin();
    ask(&address, "/disconnect/1");
    cluster.signal_worker(1, Signal::KILL);
    assert_eq!(was_voluntary(&cluster.ends(0)).signal.as_deref(), Some("SIGKILL"));
}

/// Mutation: resolve `disconnected` when the channel is closed, which in a worker it never is; let the answer to its own
/// `disconnect` end the process.
#[test]
fn n72_the_worker_sees_its_own_disconnect_and_decides_its_code() {
    let mut cluster = Cluster::of("leaves").env("TEST_HOW", "itself").start();
    let pid = cluster.fork(1).pid;
    let story = cluster.ends(0);
    let exit = was_voluntary(&story);
    assert_eq!((exit.code, exit.state.as_str()), (Some(42), "dead"));
    assert_eq!(process::state(pid), None, "its process is gone and reaped");
    assert_eq!(story.life(1), ["fork", "online", "disconnect", "exit"], "{story}");
    let mut cluster = Cluster::of("leaves").env("TEST_HOW", "is told").start();
    cluster.said("connected true");
    cluster.signal(Signal::TERM);
    let exit = was_voluntary(&cluster.ends(0));
    assert_eq!(exit.code, Some(42), "told by the primary, it sees the same");
}

/// Mutation: let `is_connected` look at the socket; leave `connected` of the handle as it is.
#[test]
fn n78_connected_and_then_not_on_both_sides() {
    let cluster = Cluster::of("leaves").env("TEST_HOW", "itself").start();
    let story = cluster.ends(0);
    let said = |line: &&Event| matches!(line, Event::Said(text) if text.starts_with("connected"));
    let said: Vec<_> = story.events().filter(said).cloned().collect();
    assert_eq!(said, ["true", "false"].map(|is| Event::Said(format!("connected {is}"))), "{story}");
}

/// Mutation: count the second `disconnect` of `leaves` as an error; end the worker in the call.
#[test]
fn r21_disconnect_returns_first_and_may_be_called_again() {
    let cluster = Cluster::of("leaves").env("TEST_HOW", "itself").start();
    let story = cluster.ends(0);
    assert!(story.said("connected true") && story.said("connected false"), "it went on: {story}");
    assert_eq!(story.life(1).iter().filter(|name| **name == "disconnect").count(), 1, "{story}");
}

/// Mutation: let the channel's end be no end in the worker; kill who hangs up.
#[test]
fn n48_a_worker_that_closes_its_channel_while_it_serves_exits_with_0() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    process::hang_up(cluster.fork(1).pid);
    cluster.expect_log("worker 1 (slot 0");
    let exit = cluster.exit(1);
    assert_eq!((exit.code, exit.signal), (Some(0), None));
    assert!(!exit.voluntary, "nobody was asked: it is replaced");
    cluster.up(2);
    assert_eq!(ask(&address, "/").status, 200);
    let story = cluster.stop();
    assert_eq!(story.life(1), ["fork", "online", "listening", "disconnect", "exit"], "{story}");
}

/// Mutation: leave out a deadline: of a drain that was asked for, or of the start.
#[test]
fn r25_p23_who_does_not_go_in_time_is_killed() {
    let mut cluster = Cluster::of("serve").workers(2).env("CLUSTER_DRAIN_TIMEOUT", "200ms").start();
    let address = cluster.up(2);
    let mut stuck = Connection::to(&address);
    stuck.write(b"GET /spin HTTP/1.1\r\nHost: test\r\n\r\n").expect("write a request");
    let id = cluster
        .until("a worker that spins", |story| (1..=2).find(|id| story.said(&format!("spinning {id}"))));
    let other = 3 - id;
    cluster.expect_log("since its time was over");
    // The other one: connections that are dealt to the stuck worker wait on its lane until it is to leave.
    let asked = (0..4).map(|_| {
        let mut client = Connection::to(&address);
        client
            .write(format!("GET /disconnect/{id} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())
            .expect("write");
        client
    });
    let mut asked: Vec<_> = asked.collect();
    let exit = cluster.exit(id);
    assert_eq!(
        (exit.signal.as_deref(), exit.reason.as_str(), exit.voluntary),
        (Some("SIGKILL"), "TimedOut", true)
    );
    asked.iter_mut().for_each(|client| assert_eq!(client.read_reply().reply().worker(), other));
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 2, "who was asked to leave is not replaced: {story}");
    let mut cluster =
        Cluster::of("idle").workers(1).env("TEST_SILENT", 1).env("CLUSTER_STARTUP_TIMEOUT", "200ms").start();
    cluster.expect_log("since its time was over");
    let exit = cluster.exit(1);
    assert_eq!(
        (exit.signal.as_deref(), exit.reason.as_str(), exit.voluntary),
        (Some("SIGKILL"), "TimedOut", false)
    );
    cluster.ends(137);
}

/// Mutation: end the messages before those that came first are read.
#[test]
fn r32_a_worker_stays_until_it_is_told_to_go_and_hears_everything_before() {
    let mut cluster = Cluster::start("serve", 1);
    let address = cluster.up(1);
    for path in ["/tell/1/one", "/tell/1/two", "/disconnect/1"] {
        ask(&address, path);
    }
    let story = cluster.ends(0);
    let heard = |event: &Event| match event {
        Event::Said(line) => line.strip_prefix("heard 1 ").map(str::to_owned),
        _ => None,
    };
    assert_eq!(story.events().filter_map(heard).collect::<Vec<_>>(), ["one", "two", "the end"], "{story}");
    assert_eq!(was_voluntary(&story).code, Some(0));
}
