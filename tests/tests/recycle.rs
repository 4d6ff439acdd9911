//! Workers that have done enough are replaced, new before old and one by one.

use std::time::Duration;
use std::{env, process};

use cluster_judge::{Class, Plan};
use cluster_tests::client::{Connection, KeptAlive, Outcome, ask, attempt, meets};
use cluster_tests::{Cluster, Event, Signal, forks};

/// Where in the story this event of this worker is.
fn at(cluster: &mut Cluster, name: &str, id: u64) -> usize {
    let wanted = |event: &Event| event.name() == name && event.id() == Some(id);
    cluster.until(&format!("{name} of worker {id}"), |story| story.events().position(wanted))
}

/// Worker `old` has ended, as one that was replaced; `new` listened before it was told to.
fn replaced(cluster: &mut Cluster, old: u64, new: u64) {
    let exit = cluster.exit(old);
    cluster.check(exit.code == Some(0) && exit.voluntary && exit.reason == "Replaced", "a replacement");
    let slots = (cluster.fork(old).slot, cluster.fork(new).slot);
    cluster.check(slots.0 == slots.1, "the slot to stay");
    let (ready, left) = (at(cluster, "listening", new), at(cluster, "disconnect", old));
    cluster.check(ready < left, "the new one first");
}

/// Every kind of client, while workers are replaced all the time: nobody notices.
///
/// Mutation: drain the old one when the new one is born; end a worker that is worn without a drain.
#[test]
fn g2_workers_are_replaced_after_200_requests_each_and_nothing_is_lost() {
    let mut cluster = Cluster::of("judged").workers(2).env("CLUSTER_MAX_REQUESTS", 200).start();
    let mut plan = Plan::on([cluster.up(2).parse().expect("an address")]);
    plan.crews.push("keep-alive=3@1ms".parse().expect("a crew"));
    plan.may_race = true;
    let trial = plan.begin().expect("start the clients");
    // Six times in each slot, or so.
    cluster.until("twelve replacements", |story| (story.exits().count() >= 12).then_some(()));
    let verdict = trial.stop();
    println!("{verdict}");
    cluster.check(verdict.is_clean(), &format!("a clean verdict\n{verdict}"));
    let raced = verdict.raced_in_time();
    cluster.check(raced == 0, &format!("nothing raced but who was late\n{verdict}"));
    let story = cluster.stop();
    let worn = story.log().filter(|line| line.contains(" requests: worker ")).count();
    assert!(worn >= 12, "{story}");
    let well = |exit: &cluster_tests::Exited| exit.code == Some(0) && exit.voluntary;
    assert!(story.exits().all(well), "{story}");
}

/// The control of G2: the same load, and workers that are killed after as long.
#[test]
fn g2_control_workers_that_end_without_a_drain_lose_something() {
    let mut cluster = Cluster::of("judged").workers(2).start();
    let mut plan = Plan::on([cluster.up(2).parse().expect("an address")]);
    plan.crews.push("slow-answer=2@1s".parse().expect("a crew"));
    let trial = plan.begin().expect("start the clients");
    cluster.expect_log("SIGKILL");
    for id in 1..=4 {
        cluster.check(trial.each_has(Class::Ok, 2), "everybody to be served");
        cluster.signal_worker(id, Signal::KILL);
        cluster.listening(id + 2);
    }
    let verdict = trial.stop();
    cluster.check(!verdict.is_clean() && verdict.count(Class::Lost) > 0, &format!("a loss\n{verdict}"));
    cluster.up(2);
    cluster.stop();
}

/// Mutation: count connections, and no requests.
#[test]
fn each_request_counts_and_the_log_says_how_many() {
    let mut cluster = Cluster::of("serve").workers(1).env("CLUSTER_MAX_REQUESTS", 3).start();
    let address = cluster.up(1);
    let mut kept = KeptAlive::to(&address);
    for _ in 0..3 {
        let outcome = kept.attempt("/");
        cluster.check(matches!(outcome, Outcome::Answered(_)), "an answer");
    }
    cluster.logged("worker 1 has served 3 requests: worker 2 takes its place");
    replaced(&mut cluster, 1, 2);
    cluster.up(1);
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 2, "and no more than that: {story}");
}

/// Mutation: count it again when it ends.
#[test]
fn a_websocket_counts_once() {
    let mut cluster = Cluster::of("judged").workers(1).env("CLUSTER_MAX_REQUESTS", 2).start();
    let address = cluster.up(1);
    for connection in 1..=2 {
        let mut socket = Connection::to(&address);
        let upgrade = "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.write(upgrade.as_bytes()).expect("ask for a WebSocket");
        // Three messages, `x` each, and the end.
        for frame in [&[0x81, 0x81, 0, 0, 0, 0, b'x'][..]; 3] {
            socket.write(frame).expect("send a message");
        }
        socket.write(&[0x88, 0x80, 0, 0, 0, 0]).expect("say that it is over");
        assert!(socket.is_closed_within(Duration::from_secs(5)), "an answer to the end");
        if connection == 1 {
            // Longer than nobody is replaced for.
            cluster.listen_for(Duration::from_millis(1200));
            let births = cluster.story().forks().count();
            cluster.check(births == 1, "it to count once");
        }
    }
    cluster.logged("worker 1 has served 2 requests: worker 2 takes its place");
    replaced(&mut cluster, 1, 2);
    cluster.stop();
}

/// Mutation: count only what an HTTP server of ours serves.
#[test]
fn a_connection_of_ones_own_server_counts_when_it_is_done() {
    let mut cluster = Cluster::of("net_echo").workers(1).env("CLUSTER_MAX_REQUESTS", 2).start();
    let address = cluster.up(1);
    let first = cluster_tests::control::Client::to(&address);
    cluster_tests::control::Client::to(&address).end();
    first.end();
    cluster.logged("worker 1 has served 2 requests: worker 2 takes its place");
    replaced(&mut cluster, 1, 2);
    cluster.stop();
}

/// Mutation: never look at it; take the kernel's kilobytes for bytes.
#[test]
fn a_worker_that_has_too_much_memory_is_replaced() {
    let mut cluster = Cluster::of("serve").workers(2).env("CLUSTER_MAX_MEMORY", "100MB").start();
    let address = cluster.up(2);
    ask(&address, "/leak/20");
    let greedy = ask(&address, "/leak/200").worker();
    cluster.logged(&format!("worker {greedy} has 2"));
    cluster.logged(" MB for itself alone: worker 3 takes its place");
    replaced(&mut cluster, greedy, 3);
    // Longer than from one look to the next.
    cluster.listen_for(Duration::from_millis(2500));
    let births = cluster.story().forks().count();
    cluster.check(births == 3, "the other to be left alone");
    cluster.stop();
}

/// Mutation: count memory that is shared.
#[test]
fn memory_that_preload_built_is_not_a_workers_own() {
    if !forks() {
        return;
    }
    let mut cluster =
        Cluster::of("preload").workers(2).env("TEST_BUILD", 150).env("CLUSTER_MAX_MEMORY", "100MB").start();
    let address = cluster.up(2);
    // Longer than until the first look.
    cluster.listen_for(Duration::from_millis(2500));
    let births = cluster.story().forks().count();
    cluster.check(births == 2, "nobody to be replaced");
    let greedy = ask(&address, "/leak/150").worker();
    replaced(&mut cluster, greedy, 3);
    cluster.up(2);
    cluster.stop();
}

/// Mutation: forget that somebody will be worn by and by.
#[test]
fn a_worker_that_is_old_is_replaced() {
    let mut cluster = Cluster::of("serve").workers(2).env("CLUSTER_MAX_AGE", "2s").start();
    cluster.up(2);
    cluster.exit(1);
    cluster.exit(2);
    for old in [1, 2] {
        // How old it was is the primary's word: when its birth was heard of says less.
        let (age, new) = cluster.until("who took its place", |story| {
            let begin = format!("worker {old} is ");
            let (_, line) = story.log().find_map(|line| line.split_once(&begin))?;
            let (age, rest) = line.split_once("s old: worker ")?;
            Some((age.parse::<f64>().ok()?, rest.split(' ').next()?.parse().ok()?))
        });
        replaced(&mut cluster, old, new);
        // A tenth less or more; and this machine has other things to do.
        assert!((1.75..10.0).contains(&age), "{age}");
    }
    cluster.stop();
}

/// Four workers that are all worn, and replacements that wait for a word.
fn all_worn(surge: usize) -> (Cluster, String) {
    let mut cluster = Cluster::of("waits")
        .workers(4)
        .env("TEST_WORKERS", 4)
        .env("CLUSTER_MAX_REQUESTS", 1)
        .env("CLUSTER_MAX_SURGE", surge)
        .start();
    let address = cluster.up(4);
    meets(&address, "worker", &[1, 2, 3, 4]);
    (cluster, address)
}

/// Mutation: send replacements for all that are worn.
#[test]
fn those_who_are_worn_wait_their_turn() {
    let (mut cluster, address) = all_worn(1);
    for new in 5..=8 {
        cluster.said(&format!("worker {new} waits"));
        cluster.listen_for(Duration::from_millis(200));
        let births = cluster.story().forks().count() as u64;
        cluster.check(births == new, "one at a time");
        let up = cluster.story().listening().len();
        cluster.check(up >= 4, "nobody to be missing");
        ask(&address, &format!("/tell/{new}/go"));
        cluster.listening(new);
    }
    for new in 6..=8 {
        let (before, born) = (at(&mut cluster, "listening", new - 1), at(&mut cluster, "fork", new));
        assert!(before < born, "{}", cluster.story());
    }
    cluster.stop();
}

/// The control: with more at once, they are seen to come at once.
#[test]
fn control_as_many_come_at_once_as_may() {
    let (mut cluster, _) = all_worn(4);
    (5..=8).for_each(|new| cluster.said(&format!("worker {new} waits")));
    cluster.check(cluster.story().exits().count() == 0, "nobody to be replaced yet");
    cluster.signal(Signal::TERM);
    cluster.ends(0);
}

/// Mutation: count its death as any other's; do not try again.
#[test]
fn a_replacement_that_fails_leaves_the_old_one_serving_and_is_tried_again_later_and_later() {
    let mut cluster = Cluster::of("waits")
        .workers(1)
        .env("TEST_WORKERS", 1)
        .env("CLUSTER_MAX_REQUESTS", 1)
        .env("CLUSTER_MAX_RESTARTS", 0)
        .start();
    let address = cluster.up(1);
    cluster.expect_log("status 7");
    ask(&address, "/");
    for failure in 2..=4 {
        cluster.said(&format!("worker {failure} waits"));
        assert_eq!(ask(&address, &format!("/tell/{failure}/7")).worker(), 1);
        assert_eq!(cluster.exit(failure).reason, "NotStarted");
    }
    let line = cluster
        .logged("worker 1 serves on, since the one for its place did not come up: another is tried in 1");
    assert!(line.contains("ms"), "{line}");
    cluster.said("worker 5 waits");
    ask(&address, "/tell/5/go");
    replaced(&mut cluster, 1, 5);
    cluster.up(1);
    cluster.stop();
}

/// Mutation: send replacements while a reload runs.
#[test]
fn while_a_reload_runs_nobody_is_replaced_for_being_worn() {
    let mut cluster = Cluster::of("waits")
        .workers(2)
        .env("TEST_WORKERS", 2)
        .env("CLUSTER_MAX_REQUESTS", 3)
        .env("CLUSTER_MAX_SURGE", 2)
        .start();
    let address = cluster.up(2);
    cluster.signal(Signal::HUP);
    cluster.said("worker 3 waits");
    cluster.said("worker 4 waits");
    ask(&address, "/tell/3/go");
    cluster.exit(1);
    let mut left = 3;
    cluster.eventually("worker 3 to be worn", || {
        left -= i32::from(ask(&address, "/").worker() == 3);
        left == 0
    });
    // Longer than nobody is replaced for.
    cluster.listen_for(Duration::from_millis(1300));
    let births = cluster.story().forks().count();
    cluster.check(births == 4, "worker 3 to wait for its turn");
    ask(&address, "/tell/4/go");
    cluster.said("reload 2 ok");
    cluster.logged("worker 3 has served");
    assert_eq!((cluster.fork(5).slot, cluster.fork(5).generation), (0, 2));
    cluster.said("worker 5 waits");
    ask(&address, "/tell/5/go");
    replaced(&mut cluster, 3, 5);
    cluster.signal(Signal::TERM);
    cluster.ends(0);
}

/// Mutation: let the one that is coming finish.
#[test]
fn a_stop_wins_over_a_replacement() {
    let (mut cluster, _) = all_worn(2);
    cluster.said("worker 5 waits");
    cluster.signal(Signal::TERM);
    let story = cluster.ends(0);
    assert!(story.exits().all(|exit| exit.reason == "Asked"), "{story}");
}

/// Mutation: end, or say something, where there is nobody to take its place.
#[test]
fn unclustered_it_has_no_effect() {
    let path = env::temp_dir().join(format!("cluster-unworn-{}.sock", process::id()));
    let address = format!("unix:{}", path.display());
    let mut program = Cluster::of("serve")
        .workers(0)
        .env("CLUSTER_MAX_REQUESTS", 1)
        .env("CLUSTER_MAX_MEMORY", "1KB")
        .env("CLUSTER_MAX_AGE", "1ms")
        .bind(&address)
        .start();
    program.eventually("it serves", || matches!(attempt(&address, "/"), Outcome::Answered(_)));
    for _ in 0..3 {
        assert_eq!(ask(&address, "/").pid(), program.pid());
    }
    program.stop();
}
