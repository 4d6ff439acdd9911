//! What clients see of a reload: nothing.

use std::path::PathBuf;
use std::{env, process};

use cluster_tests::load::Load;
use cluster_tests::{Cluster, Signal};

/// Reloads again and again under load: all are answered, and all generations have answered.
fn reloads_under_load(mut cluster: Cluster, reloads: u64) {
    let address = cluster.up(2);
    let load = Load::mixed(&address, 3, 3);
    load.served(100);
    for generation in 2..2 + reloads {
        cluster.signal(Signal::HUP);
        cluster.said(&format!("reload {generation} ok"));
        load.served(100);
    }
    cluster.up(2);
    let tally = load.stop();
    cluster.check(tally.harmed() + tally.refused == 0, &format!("nothing lost: {tally:?}"));
    let generations: Vec<u64> = tally.by_generation.keys().copied().collect();
    cluster.check(generations == (1..2 + reloads).collect::<Vec<_>>(), &format!("all to serve: {tally:?}"));
    let story = cluster.stop();
    let well =
        story.exits().filter(|exit| exit.code == Some(0) && exit.voluntary && exit.reason == "Replaced");
    assert_eq!(well.count(), 2 * reloads as usize, "{story}");
}

/// Mutation: skip the last call of `actix/drain.rs`.
#[test]
fn p60_reloads_under_load_lose_nothing_over_tcp() {
    reloads_under_load(Cluster::start("serve", 2), 8);
}

/// Mutation: as over TCP; remove the socket's file with an old worker.
#[test]
fn p60_reloads_under_load_lose_nothing_over_a_unix_socket() {
    let path: PathBuf = env::temp_dir().join(format!("cluster-p60-{}.sock", process::id()));
    reloads_under_load(Cluster::of("serve").workers(2).bind(&format!("unix:{}", path.display())).start(), 5);
}

/// Mutation: as with one at a time; let the surge be without a bound.
#[test]
fn p60_reloads_under_load_lose_nothing_with_all_at_once() {
    reloads_under_load(Cluster::of("serve").workers(2).env("CLUSTER_MAX_SURGE", 2).start(), 5);
}

/// Mutation: tell an image by exec another generation than its own.
#[test]
fn p60_reloads_under_load_lose_nothing_with_workers_by_exec() {
    reloads_under_load(Cluster::of("serve").workers(2).env("CLUSTER_SPAWN", "exec").start(), 3);
}

/// The control of P60: workers that are killed instead of replaced do cost those who keep their connections, and the
/// judge says so.
#[test]
fn p60_control_kills_under_load_lose_something() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let load = Load::mixed(&address, 3, 3);
    load.served(100);
    cluster.expect_log("SIGKILL");
    for id in 1..=2 {
        cluster.signal_worker(id, Signal::KILL);
        cluster.listening(id + 2);
    }
    let tally = load.stop();
    cluster.check(tally.lost + tally.truncated + tally.reset > 0, &format!("a loss: {tally:?}"));
    cluster.up(2);
    cluster.stop();
}

/// Mutation: count a worker that is killed during a reload as the reload's; respawn it beside its replacement.
#[test]
fn p76_kills_during_reloads_cost_only_what_the_killed_had_begun() {
    let mut cluster = Cluster::start("serve", 3);
    let address = cluster.up(3);
    cluster.expect_log("SIGKILL");
    let load = Load::on(&address, 4);
    load.served(50);
    let kills = 8;
    for round in 0..kills {
        cluster.signal(Signal::HUP);
        let victim = cluster.story().listening()[round % 3];
        cluster.signal_worker(victim, Signal::KILL);
        let ended = round + 1;
        cluster.until("the reload's end", |story| {
            let line = |event: &&cluster_tests::Event| {
                matches!(event, cluster_tests::Event::Said(line) if line.starts_with("reload "))
            };
            (story.events().filter(line).count() == ended).then_some(())
        });
        cluster.up(3);
    }
    let tally = load.stop();
    cluster.check(tally.refused + tally.timeout + tally.wrong + tally.reset == 0, &format!("{tally:?}"));
    cluster.check(tally.lost + tally.truncated <= 2 * kills, &format!("{tally:?}"));
    cluster.stop();
}
