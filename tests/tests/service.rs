//! What a service manager is told: systemd's `Type=notify` and `notify-reload`.

use std::path::PathBuf;
use std::time::Duration;
use std::{env, process};

use cluster_tests::client::{Connection, Outcome, ask, attempt};
use cluster_tests::service::Systemd;
use cluster_tests::{Cluster, Plan, Signal};

/// CLOCK_MONOTONIC, as the kernel tells everybody: rounded down.
fn monotonic_micros() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

fn micros_of(message: &str) -> i64 {
    let micros = message.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    micros.and_then(|micros| micros.parse().ok()).unwrap_or_else(|| panic!("no time in {message:?}"))
}

/// From the start, over a death, a worker's own leaving and a reload, to the stop.
fn whole_life(mut manager: Systemd, plan: Plan, path: Option<&str>) {
    let mut cluster = plan.env("NOTIFY_SOCKET", manager.address()).start();
    // All at once, in one message: at its time two workers served.
    assert_eq!(manager.until("READY=1"), "READY=1\nSTATUS=2 workers serve, generation 1\n");
    let address = cluster.up(2);
    assert_eq!(ask(&address, "/").status, 200);

    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.listening(3);
    ask(&address, "/fork");
    cluster.listening(4);
    ask(&address, "/disconnect/4");
    cluster.exit(4);
    assert_eq!(manager.turns(), ["READY=1"], "none of that is the service's own");

    let before = monotonic_micros();
    cluster.signal(Signal::HUP);
    let reloading = manager.until("RELOADING=1");
    assert!((before..=monotonic_micros()).contains(&micros_of(&reloading)), "{reloading}");
    assert_eq!(manager.until("READY=1"), "READY=1\nSTATUS=2 workers serve, generation 2\n");
    cluster.said("reload 2 ok");
    cluster.exit(2);
    cluster.exit(3);
    if let Some(path) = path {
        cluster.shares(&format!("unix:{path}"));
    }
    cluster.stop();
    assert_eq!(manager.turns(), ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
    let last = manager.statuses().pop();
    assert!(last.as_ref().is_some_and(|status| status.starts_with("stopping: ")), "{last:?}");
}

/// Mutation: RELOADING=1 without its time, or with one of before; STOPPING=1 when a worker leaves.
#[test]
fn p39_p96_p107_p56_a_service_at_a_path_tells_its_turns_and_no_others() {
    whole_life(Systemd::at_a_path(), Cluster::of("serve").workers(2), None);
}

/// Mutation: READY=1 when the first one is ready.
#[test]
fn p39_ready_waits_for_the_last_one() {
    let mut manager = Systemd::at_a_path();
    let mut cluster = Cluster::of("reload")
        .workers(2)
        .env("TEST_GENERATIONS", 1)
        .env("TEST_SLOTS", 1)
        .env("TEST_HOW", "hang")
        .env("CLUSTER_DRAIN_TIMEOUT", "100ms")
        .env("NOTIFY_SOCKET", manager.address())
        .start();
    let address = cluster.listening(1);
    assert_eq!(ask(&address, "/").status, 200);
    manager.until("STATUS=starting: 1 of 2 workers are ready");
    cluster.signal(Signal::TERM);
    cluster.ends(0);
    assert_eq!(manager.turns(), ["STOPPING=1"]);
}

/// Mutation: take the `@` for a part of the name.
#[test]
fn p96_a_service_on_an_activated_unix_socket_tells_its_turns_to_an_abstract_name() {
    let path: PathBuf = env::temp_dir().join(format!("cluster-p96-{}.sock", process::id()));
    let path = path.display().to_string();
    let plan = Cluster::of("activate")
        .after("exec 3<&- 4<&- 5<&- 6<&-")
        .workers(2)
        .env("TEST_ACTIVATE", format!("http=unix:{path}"))
        .env("TEST_PROGRAM", "serve")
        .bind(&format!("unix:{path}"));
    whole_life(Systemd::at_a_name(), plan, Some(&path));
    assert!(std::fs::remove_file(path).is_ok(), "the file is the service manager's");
}

/// Mutation: say READY=1 only of a reload that has succeeded.
#[test]
fn p107_a_reload_that_fails_is_over_too() {
    let mut manager = Systemd::at_a_path();
    let mut cluster = Cluster::of("reload")
        .workers(2)
        .env("TEST_GENERATIONS", 2)
        .env("TEST_HOW", 3)
        .env("NOTIFY_SOCKET", manager.address())
        .start();
    cluster.up(2);
    manager.until("READY=1");
    cluster.expect_log("worker 3 ");
    cluster.expect_log("reload");
    cluster.signal(Signal::HUP);
    manager.until("RELOADING=1");
    let ready = manager.until("READY=1");
    assert!(ready.contains("STATUS=2 workers serve, generation 1; reload: "), "{ready}");
    cluster.stop();
    assert_eq!(manager.turns(), ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
}

/// Mutation: STOPPING=1 only when the drain begins.
#[test]
fn p56_a_stop_is_told_of_before_the_time_before_the_drain() {
    let mut manager = Systemd::at_a_path();
    let mut cluster = Cluster::of("serve")
        .workers(1)
        .env("NOTIFY_SOCKET", manager.address())
        .env("CLUSTER_PRE_DRAIN", "1m")
        .start();
    let address = cluster.up(1);
    cluster.signal(Signal::TERM);
    manager.until("STOPPING=1");
    // Its worker is told at the same time, by another way.
    cluster.eventually("the worker to know", || ask(&address, "/health").status == 503);
    cluster.signal(Signal::TERM);
    cluster.ends(0);
    assert_eq!(manager.turns(), ["READY=1", "STOPPING=1"]);
}

/// A loop that does not turn says nothing. Mutation: feed it from a thread, or from a worker; never.
#[test]
fn p39_the_watchdog_hears_of_the_loop_and_of_nothing_else() {
    let mut manager = Systemd::at_a_path();
    let mut cluster = Cluster::of("serve")
        .workers(1)
        .env("NOTIFY_SOCKET", manager.address())
        .env("WATCHDOG_USEC", 100_000)
        .after("export WATCHDOG_PID=$$")
        .start();
    let address = cluster.up(1);
    for _ in 0..5 {
        manager.until("WATCHDOG=1");
    }
    cluster.signal(Signal::STOP);
    let pid = cluster.pid();
    cluster.eventually("the primary to stand still", || {
        cluster_tests::process::state(pid).is_some_and(|(state, _)| state == 'T')
    });
    manager.catch_up();
    cluster.check(!manager.hears_within(Duration::from_millis(500)), "silence");
    cluster.signal(Signal::CONT);
    manager.until("WATCHDOG=1");
    assert_eq!(ask(&address, "/").status, 200);
    cluster.stop();
}

/// Mutation: feed it though another is meant.
#[test]
fn p39_the_watchdog_of_another_process_is_not_ours() {
    let mut manager = Systemd::at_a_path();
    let mut cluster = Cluster::of("serve")
        .workers(1)
        .env("NOTIFY_SOCKET", manager.address())
        .env("WATCHDOG_USEC", 10_000)
        .env("WATCHDOG_PID", 1)
        .start();
    cluster.up(1);
    manager.until("READY=1");
    cluster.check(!manager.hears_within(Duration::from_millis(300)), "silence");
    cluster.stop();
}

/// Mutation: wait until the manager reads.
#[test]
fn p39_a_manager_that_never_reads_holds_nobody_up() {
    let mut manager = Systemd::at_a_path();
    let mut cluster = Cluster::of("serve")
        .workers(2)
        .env("NOTIFY_SOCKET", manager.address())
        .env("WATCHDOG_USEC", 2000)
        .start();
    let address = cluster.up(2);
    // By now far more was to be said than any socket holds.
    cluster.listen_for(Duration::from_secs(1));
    cluster.signal(Signal::HUP);
    cluster.said("reload 2 ok");
    assert_eq!(ask(&address, "/").status, 200);
    // The turns were kept for when it reads again.
    cluster.signal(Signal::TERM);
    cluster.ends(0);
    assert_eq!(attempt(&address, "/"), Outcome::Refused);
    assert!(manager.catch_up() > 0);
}

/// Mutation: leave the manager's socket to workers, who may say anything to it.
#[test]
fn p39_workers_know_nothing_of_the_manager() {
    let manager = Systemd::at_a_path();
    let names = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
    let plan = Cluster::of("serve").workers(1).env("NOTIFY_SOCKET", manager.address());
    let mut cluster = plan.env("WATCHDOG_USEC", 1_000_000).env("WATCHDOG_PID", 1).start();
    let address = cluster.up(1);
    for name in names {
        assert_eq!(ask(&address, &format!("/variable/{name}")).body, name);
    }
    cluster.stop();
}

/// Mutation: have whatever is told of an upgrade end what the manager was told of.
#[test]
fn p107_an_upgrade_that_is_refused_does_not_end_the_one_that_runs() {
    let mut manager = Systemd::at_a_path();
    let mut cluster = Cluster::of("serve").workers(2).env("NOTIFY_SOCKET", manager.address()).start();
    manager.until("READY=1");
    let address = cluster.up(2);
    // As long as it is served, one of the workers before is left.
    let mut held = Connection::to(&address);
    held.begin();
    cluster.signal(Signal::USR2);
    cluster.logged("this is the new program");
    cluster.expect_log("not now");
    cluster.signal(Signal::USR2);
    cluster.said("upgrade 3 failed: not now: that to generation 2 is under way");
    assert_eq!(manager.turns(), ["READY=1", "RELOADING=1"]);
    assert_eq!(held.finish().reply().status, 200);
    cluster.said("upgrade 2 ok");
    assert_eq!(manager.turns(), ["READY=1", "RELOADING=1", "READY=1"]);
    cluster.stop();
}
