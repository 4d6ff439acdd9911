//! Supervision beside the plain respawn: several at a time, in a crash loop, by policy, and how many there are.

use std::time::{Duration, Instant};

use cluster_tests::client::{Connection, ask, attempt};
use cluster_tests::{Cluster, Event, Signal, forks, process};

/// One worker that serves, and a slot whose workers die at once for ever; the last of them so far has this id. The second worker is
/// who serves.
fn crash_loop(last: u64) -> Cluster {
    let mut cluster = Cluster::of("cannot_boot")
        .workers(2)
        .env("TEST_DIES", "3-")
        .env("CLUSTER_MAX_RESTARTS", 1000)
        .start();
    cluster.up(2);
    cluster.expect_log("SIGKILL");
    cluster.expect_log("before it was ready");
    cluster.signal_worker(1, Signal::KILL);
    cluster.exit(last);
    cluster
}

/// Mutation: keep one time of refilling for all slots.
#[test]
fn p08_one_that_dies_while_another_slot_waits_comes_back_and_so_does_the_other() {
    let mut cluster = Cluster::of("cannot_boot")
        .workers(2)
        .env("TEST_DIES", "3 4 5 6 7 8")
        .env("CLUSTER_MAX_RESTARTS", 10)
        .start();
    cluster.up(2);
    cluster.expect_log("SIGKILL");
    cluster.expect_log("before it was ready");
    cluster.signal_worker(1, Signal::KILL);
    // Its slot waits for 75 ms at least after the second of its successors, and for twice as long after each of the next: after
    // the sixth for longer than it takes to kill the other.
    cluster.exit(8);
    cluster.signal_worker(2, Signal::KILL);
    cluster.exit(2);
    cluster.up(2);
    let slots: Vec<_> = [9, 10].into_iter().map(|id| cluster.fork(id).slot).collect();
    assert_eq!(slots, [1, 0], "who has served comes back at once, the other in its time");
    cluster.stop();
}

/// Mutation: wait in the loop until a slot may be filled again.
#[test]
fn p09_in_a_crash_loop_the_primary_still_answers_and_still_ends() {
    let mut cluster = crash_loop(6);
    let address = cluster.up(1);
    for n in 0..20 {
        let began = Instant::now();
        ask(&address, &format!("/say/{n}"));
        cluster.until("the message", |story| {
            let said = format!("Say(\"{n}\")");
            let heard = |event: &Event| matches!(event, Event::Message { body, .. } if *body == said);
            story.events().any(heard).then_some(())
        });
        let took = began.elapsed();
        cluster.check(took < Duration::from_secs(5), &format!("an answer at once, not after {took:?}"));
    }
    let began = Instant::now();
    cluster.signal(Signal::TERM);
    cluster.ends(0);
    assert!(began.elapsed() < Duration::from_secs(8), "it stops though a slot waits to be filled");
}

/// Mutation: leave the slot that waits out of the stop.
#[test]
fn p58_a_stop_wins_over_a_slot_that_waits() {
    for (stop, code) in [(Signal::TERM, 0), (Signal::INT, 0), (Signal::QUIT, 131)] {
        // The slot waits for more than a second now, and the signal does not take as long.
        let mut cluster = crash_loop(8);
        if stop == Signal::QUIT {
            cluster.expect_log("SIGQUIT");
        }
        cluster.signal(stop);
        let story = cluster.ends(code);
        assert_eq!(
            (story.forks().count(), story.exits().count()),
            (8, 8),
            "{stop:?}: nobody is born: {story}"
        );
    }
}

/// Mutation: count a death for ever; respawn once more after giving up.
#[test]
fn p13_who_crashes_for_good_is_given_up_and_what_was_stable_before_changes_nothing_about_it() {
    let mut cluster =
        Cluster::of("cannot_boot").workers(1).env("TEST_DIES", "2-").env("CLUSTER_MAX_RESTARTS", 2).start();
    let address = cluster.up(1);
    ask(&address, "/");
    cluster.expect_log("SIGKILL");
    cluster.expect_log("before it was ready");
    cluster.expect_log("gave up");
    cluster.signal_worker(1, Signal::KILL);
    let story = cluster.ends(1);
    assert_eq!(story.forks().count(), 1 + 3, "no birth after the third death: {story}");
}

/// Mutation: drain one after the other.
#[test]
fn p11_the_times_that_workers_need_to_end_run_side_by_side() {
    const WORKERS: usize = 8;
    let mut cluster = Cluster::of("serve").workers(WORKERS).env("CLUSTER_DRAIN_TIMEOUT", "2s").start();
    let address = cluster.up(WORKERS);
    let mut held: Vec<_> = (0..WORKERS).map(|_| Connection::to(&address)).collect();
    held.iter_mut().for_each(Connection::begin);
    let began = Instant::now();
    cluster.signal(Signal::TERM);
    let story = cluster.ends(0);
    let took = began.elapsed();
    let range = Duration::from_secs(2)..Duration::from_secs(10);
    assert!(range.contains(&took), "once what one needs, not {WORKERS} times: {took:?}: {story}");
}

/// Mutation: take every status for a failure; take none for one.
#[test]
fn p14_status_0_means_do_not_restart_where_only_failures_are_restarted() {
    let mut cluster = Cluster::of("serve").workers(3).env("CLUSTER_RESTART", "on-failure").start();
    let address = cluster.up(3);
    cluster.expect_log("status 0");
    drop(attempt(&address, "/exit/0"));
    let second = cluster.until("an end", |story| story.exits().next().map(|exit| exit.id));
    cluster.expect_log("status 3");
    drop(attempt(&address, "/exit/3"));
    cluster.listening(4);
    cluster.up(2);
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 4, "one of the two came back: {story}");
    let done = story.exits().find(|exit| exit.id == second).expect("it ended");
    assert_eq!((done.code, done.reason.as_str()), (Some(0), "Finished"));
    let slot = |id: u64| story.forks().find(|fork| fork.id == id).map(|fork| fork.slot);
    assert_ne!(slot(4), slot(second), "not the one with status 0: {story}");
}

/// Mutation: count the machine's processors.
#[test]
fn p16_as_many_as_the_processors_that_the_program_may_use() {
    let allowed =
        std::process::Command::new("taskset").args(["-p", &std::process::id().to_string()]).output();
    if !allowed.is_ok_and(|shown| shown.status.success()) {
        println!("skipped: taskset is not installed");
        return;
    }
    // The first of those that this test may use itself.
    let own = std::fs::read_to_string("/proc/self/status").expect("our status");
    let list = own.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("processors");
    let first = list.trim().split([',', '-']).next().expect("one at least");
    let mut cluster = Cluster::of("serve")
        .env("CLUSTER_WORKERS", "cpus")
        .after(&format!("taskset -pc {first} $$ > /dev/null"))
        .start();
    cluster.up(1);
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 1, "{story}");
    for bad in ["-100", "1.5", "", "99999999999999999999999"] {
        let mut cluster = Cluster::of("serve").env("CLUSTER_WORKERS", bad).start();
        cluster.expect_log("CLUSTER_WORKERS=");
        cluster.ends(1);
    }
}

/// Mutation: preload in each worker.
#[test]
fn p19_what_is_preloaded_is_preloaded_once_however_many_workers_there_are() {
    if !forks() {
        return;
    }
    let mut cluster = Cluster::start("preload", 6);
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(3, Signal::KILL);
    cluster.listening(7);
    cluster.up(6);
    let story = cluster.stop();
    let preloads =
        story.events().filter(|event| matches!(event, Event::Said(line) if line.starts_with("preload in")));
    assert_eq!(preloads.count(), 1, "{story}");
}

/// Mutation: keep the turn of a worker that has died; give its replacement none.
#[test]
fn p31_a_worker_that_dies_is_passed_over_and_its_replacement_has_its_turn() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    // Who is kept from its processor is passed over, so not each round is exact; by chance one of eight would be.
    let by_turns = |cluster: &mut Cluster, ids: [u64; 2]| {
        let (mut rounds, mut exact) = (0, 0);
        cluster.eventually("by turns", || {
            let round = [(); 4].map(|()| ask(&address, "/").worker());
            assert!(round.iter().all(|id| ids.contains(id)), "{ids:?} serve: {round:?}");
            rounds += 1;
            exact += i32::from(round[0] == round[2] && round[1] == round[3] && round[0] != round[1]);
            rounds >= 12 && exact * 2 >= rounds
        });
    };
    by_turns(&mut cluster, [1, 2]);
    cluster.expect_log("SIGABRT");
    drop(attempt(&address, "/abort"));
    let dead = cluster.until("an end", |story| story.exits().next().map(|exit| exit.id));
    cluster.listening(3);
    by_turns(&mut cluster, [3 - dead, 3]);
    cluster.stop();
}

/// Mutation: allow as many in the start as there are slots, whatever the surge.
#[test]
fn p22_a_reload_has_no_more_workers_on_their_way_than_it_may() {
    let mut cluster = Cluster::of("serve").workers(6).env("CLUSTER_MAX_SURGE", 2).start();
    cluster.up(6);
    cluster.signal(Signal::HUP);
    cluster.said("reload 2 ok");
    cluster.up(6);
    let story = cluster.stop();
    let mut starting: usize = 0;
    for event in story.events() {
        match event {
            Event::Fork(forked) if forked.generation == 2 => starting += 1,
            Event::Listening { id, .. } if *id > 6 => starting -= 1,
            _ => {}
        }
        assert!(starting <= 2, "two at a time: {story}");
    }
}

/// Mutation: leave an end to the next turn for ever when another was seen in this one.
#[test]
fn s33_sixteen_that_die_at_one_instant_are_sixteen_ends() {
    const WORKERS: u64 = 16;
    let mut cluster = Cluster::start("serve", 16);
    cluster.expect_log("SIGKILL");
    let primary = cluster.pid();
    // The primary looks when all of them are dead.
    cluster.signal(Signal::STOP);
    cluster
        .eventually("the primary to stop", || process::state(primary).is_some_and(|(state, _)| state == 'T'));
    (1..=WORKERS).for_each(|id| cluster.signal_worker(id, Signal::KILL));
    cluster.eventually("all to die", || process::zombies_of(primary).len() == 16);
    cluster.signal(Signal::CONT);
    (1..=WORKERS).for_each(|id| assert_eq!(cluster.exit(id).signal.as_deref(), Some("SIGKILL")));
    cluster.up(16);
    let story = cluster.stop();
    assert_eq!(story.exits().count(), 32, "each once: {story}");
}
