//! More workers and fewer, by signals and by callbacks.

use std::{env, process};

use cluster_judge::{Class, Plan, Trial};
use cluster_tests::client::{Connection, Outcome, ask, attempt, meets};
use cluster_tests::{Cluster, Signal, Story};

/// The slots of those who are up, in order.
fn slots(story: &Story) -> Vec<usize> {
    let up = story.listening();
    let mut slots: Vec<_> =
        story.forks().filter(|fork| up.contains(&fork.id)).map(|fork| fork.slot).collect();
    slots.sort_unstable();
    slots
}

/// A worker of this slot is busy with this request until the client goes on.
fn busy(address: &str, slot: u64) -> Connection {
    loop {
        let mut connection = Connection::to(address);
        if connection.ask("/").number("slot") == Some(slot) {
            connection.begin();
            return connection;
        }
    }
}

/// Mutation: give a slot away only when nobody is in it; count slots up for ever.
#[test]
fn p17_down_and_up_again_fills_each_slot_exactly_once_though_a_former_worker_drains() {
    let mut cluster = Cluster::start("serve", 4);
    let address = cluster.up(4);
    let mut held = busy(&address, 3);
    ask(&address, "/scale/2");
    cluster.exit(3);
    cluster.logged("scaling from 4 to 2 workers");
    ask(&address, "/scale/4");
    let (fifth, sixth) = (cluster.fork(5), cluster.fork(6));
    assert_eq!([fifth.slot, sixth.slot], [2, 3]);
    cluster.listening(5);
    cluster.listening(6);
    assert!(cluster.story().exits().all(|exit| exit.id != 4), "{}", cluster.story());
    meets(&address, "slot", &[0, 1, 2, 3]);
    drop(held.finish());
    let exit = cluster.exit(4);
    assert!(exit.voluntary && exit.reason == "Asked" && exit.code == Some(0), "{exit:?}");
    cluster.up(4);
    assert_eq!(slots(cluster.story()), [0, 1, 2, 3]);
    cluster.stop();
}

/// Mutation: let the lowest go; let the last one go.
#[test]
fn p122_one_more_and_one_less_by_signal_and_the_highest_slot_goes_first() {
    let mut cluster = Cluster::start("serve", 2);
    cluster.up(2);
    cluster.signal(Signal::TTIN);
    assert_eq!(cluster.fork(3).slot, 2);
    cluster.up(3);
    for (gone, left) in [(3, 2), (2, 1)] {
        cluster.signal(Signal::TTOU);
        assert!(cluster.exit(gone).voluntary);
        cluster.up(left);
    }
    cluster.signal(Signal::TTOU);
    cluster.logged("SIGTTOU: the last worker stays");
    cluster.signal(Signal::TTIN);
    assert_eq!(cluster.fork(4).slot, 1);
    cluster.up(2);
    assert_eq!(slots(cluster.story()), [0, 1]);
    let story = cluster.stop();
    assert_eq!(story.exits().count(), 4, "{story}");
}

/// Mutation: say nothing; end the cluster.
#[test]
fn p123_to_eight_to_two_and_to_as_many_as_there_are() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    ask(&address, "/scale/8");
    cluster.up(8);
    assert_eq!(slots(cluster.story()), (0..8).collect::<Vec<_>>());
    ask(&address, "/scale/2");
    (3..=8).for_each(|id| drop(cluster.exit(id)));
    cluster.up(2);
    ask(&address, "/scale/2");
    cluster.logged("scaling to 2 workers: there are as many already");
    cluster.expect_log("cluster::scale(0) does nothing");
    ask(&address, "/scale/0");
    cluster.logged("cluster::scale(0) does nothing");
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 8, "{story}");
}

/// Mutation: stop the program, as `disconnect` does.
#[test]
fn unclustered_it_says_that_it_does_nothing() {
    let path = env::temp_dir().join(format!("cluster-unscaled-{}.sock", process::id()));
    let address = format!("unix:{}", path.display());
    let mut program = Cluster::of("serve").workers(0).bind(&address).start();
    program.eventually("it serves", || matches!(attempt(&address, "/"), Outcome::Answered(_)));
    program.expect_log("cluster::scale() does nothing here");
    ask(&address, "/scale/3");
    program.logged("cluster::scale() does nothing here");
    assert_eq!(ask(&address, "/").pid(), program.pid());
    program.stop();
}

/// Mutation: go back to the configured number; give new ones the old generation.
#[test]
fn a_scaled_count_survives_reloads_and_those_that_come_meanwhile_are_new() {
    let mut cluster = Cluster::of("waits").workers(2).env("TEST_WORKERS", 2).start();
    let address = cluster.up(2);
    cluster.signal(Signal::HUP);
    cluster.said("worker 3 waits");
    ask(&address, "/scale/3");
    assert_eq!((cluster.fork(4).slot, cluster.fork(4).generation), (2, 2));
    // In slots 0, 2 and 1; the last replacement begins when the first is ready.
    for new in [3, 4, 5] {
        cluster.said(&format!("worker {new} waits"));
        ask(&address, &format!("/tell/{new}/go"));
    }
    cluster.said("reload 2 ok");
    cluster.up(3);
    cluster.signal(Signal::HUP);
    for new in 6..=8 {
        cluster.said(&format!("worker {new} waits"));
        ask(&address, &format!("/tell/{new}/go"));
    }
    cluster.said("reload 3 ok");
    cluster.up(3);
    assert_eq!(slots(cluster.story()), [0, 1, 2]);
    cluster.stop();
}

/// Mutation: leave who is coming to a slot that is given up; take its end for the reload's failure.
#[test]
fn down_in_a_reload_takes_along_who_is_coming() {
    let mut cluster =
        Cluster::of("waits").workers(2).env("TEST_WORKERS", 2).env("CLUSTER_MAX_SURGE", 2).start();
    let address = cluster.up(2);
    cluster.signal(Signal::HUP);
    cluster.said("worker 3 waits");
    cluster.said("worker 4 waits");
    ask(&address, "/scale/1");
    cluster.exit(2);
    cluster.exit(4);
    ask(&address, "/tell/3/go");
    cluster.said("reload 2 ok");
    cluster.exit(1);
    cluster.up(1);
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 4, "{story}");
}

/// By hand, one more and one less.
///
/// Mutation: count what was asked for last, whatever has become of it.
#[test]
fn fork_and_disconnect_by_hand_change_the_number_too() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    ask(&address, "/fork");
    cluster.up(3);
    cluster.signal(Signal::TTIN);
    assert_eq!(cluster.fork(4).slot, 3);
    cluster.up(4);
    ask(&address, "/disconnect/1");
    cluster.exit(1);
    ask(&address, "/scale/4");
    cluster.logged("scaling from 3 to 4 workers");
    assert_eq!(cluster.fork(5).slot, 0);
    cluster.up(4);
    cluster.stop();
}

fn clients(cluster: &mut Cluster, workers: usize) -> Trial {
    let mut plan = Plan::on([cluster.up(workers).parse().expect("an address")]);
    plan.crews.push("keep-alive=3@1ms".parse().expect("a crew"));
    plan.crews.push("slow-answer=2@1s".parse().expect("a crew"));
    plan.may_race = true;
    plan.begin().expect("start the clients")
}

fn served(cluster: &mut Cluster, trial: &Trial) {
    let all = trial.each_has(Class::Ok, 3);
    cluster.check(all, &format!("everybody to be served\n{}", trial.verdict()));
}

/// Mutation: send SIGKILL to those whose places are given up.
#[test]
fn p76_more_and_fewer_workers_under_load_lose_nothing() {
    let mut cluster = Cluster::of("judged").workers(2).start();
    let trial = clients(&mut cluster, 2);
    for (signal, workers) in
        [(Signal::TTIN, 3), (Signal::TTIN, 4), (Signal::TTOU, 3), (Signal::TTOU, 2), (Signal::TTOU, 1)]
    {
        cluster.signal(signal);
        cluster.up(workers);
        served(&mut cluster, &trial);
    }
    cluster.signal(Signal::TTIN);
    cluster.up(2);
    served(&mut cluster, &trial);
    let verdict = trial.stop();
    println!("{verdict}");
    cluster.check(verdict.is_clean(), &format!("a clean verdict\n{verdict}"));
    let story = cluster.stop();
    assert!(story.exits().all(|exit| exit.voluntary && exit.code == Some(0)), "{story}");
}

/// The control of P76: as many go, and are killed instead.
#[test]
fn p76_control_workers_that_are_killed_instead_lose_something() {
    let mut cluster = Cluster::of("judged").workers(2).start();
    let trial = clients(&mut cluster, 2);
    cluster.expect_log("SIGKILL");
    for id in 1..=4 {
        served(&mut cluster, &trial);
        cluster.signal_worker(id, Signal::KILL);
        cluster.listening(id + 2);
    }
    let verdict = trial.stop();
    cluster.check(!verdict.is_clean() && verdict.count(Class::Lost) > 0, &format!("a loss\n{verdict}"));
    cluster.up(2);
    cluster.stop();
}
