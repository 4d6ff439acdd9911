//! The course of a reload that succeeds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use std::{env, process};

use cluster_tests::client::{Connection, ask};
use cluster_tests::process::threads;
use cluster_tests::{Cluster, Event, Signal};

use super::{failure, outcomes};

const TICK: Duration = Duration::from_millis(10);

/// Mutation: give the new generation's number to births before its success, or never; take the old one's channel down
/// before the new one listens.
#[test]
fn p61_two_generations_are_seen_and_in_each_slot_the_new_one_follows_the_old_one() {
    let mut cluster = Cluster::start("serve", 3);
    let address = cluster.up(3);
    let old: BTreeSet<u32> = cluster.story().forks().map(|fork| fork.pid).collect();
    let mut seen: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    cluster.signal(Signal::HUP);
    loop {
        cluster.listen_for(Duration::from_millis(1));
        let done = cluster.story().said("reload 2 ok");
        for _ in 0..6 {
            let reply = ask(&address, "/");
            let (slot, generation) = (reply.number("slot").expect("a slot"), reply.number("generation"));
            assert_eq!(old.contains(&reply.pid()), generation == Some(1), "{reply:?}");
            seen.entry(slot).or_default().extend(generation);
        }
        if done {
            break;
        }
    }
    for (slot, generations) in &seen {
        assert!(generations.is_sorted() && generations.last() == Some(&2), "slot {slot}: {generations:?}");
    }
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [0, 1, 2], "every slot serves");
    cluster.up(3);
    assert_eq!(cluster.fork(4).generation, 2, "the primary's handle tells it too");
    cluster.stop();
}

/// Mutation: begin with the last slot; spawn the next replacement before this one is ready.
#[test]
fn p80_one_at_a_time_in_the_order_of_slots_and_the_new_one_first() {
    let mut cluster = Cluster::start("serve", 4);
    cluster.signal(Signal::HUP);
    cluster.said("reload 2 ok");
    cluster.up(4);
    let story = cluster.stop();
    let at = |name: &str, id: u64| {
        let wanted = |event: &Event| event.name() == name && event.id() == Some(id);
        story.events().position(wanted).unwrap_or_else(|| panic!("no {name} of {id}: {story}"))
    };
    for (old, new) in (1..=4).zip(5..=8) {
        let forked = story.forks().find(|fork| fork.id == new).expect("a birth");
        assert_eq!(forked.slot as u64, old - 1, "{story}");
        assert!(at("listening", new) < at("disconnect", old), "{story}");
        assert!(old == 1 || at("listening", new - 1) < at("fork", new), "{story}");
    }
}

/// Mutation: queue reloads by their number; forget one that is asked for while another runs.
#[test]
fn p67_ten_at_once_are_two() {
    let mut cluster = Cluster::of("reload")
        .workers(2)
        .env("TEST_GENERATIONS", 2)
        .env("TEST_HOW", "hang")
        .env("CLUSTER_STARTUP_TIMEOUT", "4s")
        .start();
    let address = cluster.up(2);
    cluster.expect_log("since its time was over");
    cluster.signal(Signal::HUP);
    cluster.said("worker 3 is of generation 2");
    for _ in 0..9 {
        ask(&address, "/reload");
    }
    cluster.said("reload 3 ok");
    cluster.exit(1);
    cluster.exit(2);
    let running = cluster.story().forks().count() - cluster.story().exits().count();
    cluster.check(running == 2, "as many workers as before");
    assert_eq!(outcomes(&cluster).len(), 2);
    cluster.stop();
}

/// Mutation: lose a signal that comes while another is being obeyed.
#[test]
fn p129_five_signals_at_once_are_one_reload_or_two_and_never_none() {
    let mut cluster = Cluster::start("serve", 2);
    for _ in 0..5 {
        cluster.signal(Signal::HUP);
    }
    cluster.said("reload 2 ok");
    cluster.up(2);
    let story = cluster.stop();
    let births = story.forks().count();
    assert!(births == 4 || births == 6, "{story}");
}

/// Mutation: take listening alone for readiness.
#[test]
fn p68_workers_that_serve_nobody_are_reloaded_too() {
    let mut cluster = Cluster::of("idle").workers(2).start();
    cluster.said("body 1");
    cluster.said("body 2");
    cluster.signal(Signal::HUP);
    cluster.said("reload 2 ok");
    cluster.exit(1);
    cluster.exit(2);
    cluster.stop();
}

/// Mutation: begin a reload while old workers of the last one are there; wait for them without a deadline.
#[test]
fn p72_old_workers_are_bounded_in_number_and_in_time() {
    let mut cluster = Cluster::of("serve").workers(2).env("CLUSTER_DRAIN_TIMEOUT", "500ms").start();
    let address = cluster.up(2);
    let mut held = [Connection::to(&address), Connection::to(&address)];
    held.iter_mut().for_each(Connection::begin);
    cluster.signal(Signal::HUP);
    cluster.said("reload 2 ok");
    cluster.signal(Signal::HUP);
    cluster.said("reload 3 ok");
    assert!(held.iter_mut().all(|held| held.is_closed_within(TICK)), "cut before the next began");
    cluster.up(2);
    let story = cluster.stop();
    let mut alive: i32 = 0;
    for event in story.events() {
        match event {
            Event::Fork(_) => alive += 1,
            Event::Exit(_) => alive -= 1,
            _ => {}
        }
        assert!(alive <= 4 + 1, "two generations of two, and a replacement: {story}");
    }
}

/// Mutation: keep a replaced worker's lane, pidfd or channel.
#[test]
fn p73_forty_reloads_leave_nothing_behind_in_the_primary() {
    let mut cluster = Cluster::start("serve", 2);
    cluster.up(2);
    for generation in 2..42 {
        cluster.signal(Signal::HUP);
        cluster.said(&format!("reload {generation} ok"));
    }
    cluster.up(2);
    assert_eq!(threads(cluster.pid()), 1);
    // The audit compares the descriptors.
    cluster.stop();
}

/// Mutation: close a listener with the worker that asked for it first.
#[test]
fn p81_after_each_reload_every_listener_takes_connections() {
    let path = env::temp_dir().join(format!("cluster-p81-{}.sock", process::id()));
    let addresses = format!("127.0.0.1:0 127.0.0.1:0 unix:{}", path.display());
    let mut cluster = Cluster::of("serve").workers(2).bind(&addresses).start();
    for generation in 1..=3 {
        cluster.up(2);
        if generation > 1 {
            cluster.signal(Signal::HUP);
            cluster.said(&format!("reload {generation} ok"));
        }
        let addresses: Vec<String> = cluster.story().addresses().into_iter().map(str::to_owned).collect();
        assert_eq!(addresses.len(), 3, "none is new, and none is gone");
        for address in addresses {
            assert_eq!(ask(&address, "/").number("generation"), Some(generation), "{address}");
        }
    }
    cluster.up(2);
    cluster.stop();
}

/// Mutation: use a failed reload's number again; keep no outcome, or the first one.
#[test]
fn p20_p79_a_reload_that_fails_twice_and_then_succeeds_is_told_of_three_times() {
    let mut cluster =
        Cluster::of("reload").workers(1).env("TEST_GENERATIONS", "2 3").env("TEST_HOW", 7).start();
    let address = cluster.up(1);
    cluster.expect_log("status 7");
    for generation in [2, 3] {
        cluster.signal(Signal::HUP);
        assert!(failure(&mut cluster, generation).contains("exited with status 7"));
        assert_eq!(ask(&address, "/").worker(), 1);
    }
    cluster.signal(Signal::HUP);
    cluster.said("reload 4 ok");
    assert_eq!(ask(&address, "/").number("generation"), Some(4));
    cluster.up(1);
    cluster.stop();
}

/// Mutation: drain the old one when the new one is online; take the deadline of the start for readiness.
#[test]
fn p38_the_old_one_stays_until_the_new_one_is_ready_however_late() {
    let mut cluster =
        Cluster::of("reload").workers(1).env("TEST_GENERATIONS", 2).env("TEST_HOW", "late").start();
    let address = cluster.up(1);
    cluster.signal(Signal::HUP);
    cluster.said("worker 2 is of generation 2");
    cluster.until("it to be online", |story| story.life(2).contains(&"online").then_some(()));
    cluster.listen_for(Duration::from_millis(300));
    let online = cluster.story().life(2);
    cluster.check(online == ["fork", "online"], "it is on its way");
    let early = cluster.story().life(1).len();
    cluster.check(early == 3, "the old one to have been told nothing");
    assert_eq!(ask(&address, "/tell/2/go").worker(), 1);
    cluster.said("reload 2 ok");
    cluster.exit(1);
    assert_eq!(ask(&address, "/").worker(), 2);
    cluster.up(1);
    // Never ready: P78.
    cluster.stop();
}
