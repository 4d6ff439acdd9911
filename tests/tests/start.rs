//! How a program starts: its settings, its limits, its terminal, and without a cluster.

use cluster_tests::client::{Connection, Outcome, ask, attempt};
use cluster_tests::{Cluster, Event, Signal};

/// Mutation: take the default for what can't be read.
#[test]
fn a_setting_that_can_not_be_ends_the_program_with_a_word() {
    let mut cluster = Cluster::of("serve").env("CLUSTER_WORKERS", "many").start();
    cluster.expect_log("CLUSTER_WORKERS=\"many\", and it takes \"cpus\" or a number");
    cluster.ends(1);
}

/// Mutation: leave the soft limit as it is.
#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let mut cluster = Cluster::of("serve").workers(1).after("ulimit -Sn 100; ulimit -Hn 1000").start();
    cluster.up(1);
    for pid in [cluster.pid(), cluster.fork(1).pid] {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let files =
            limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default().to_owned();
        let raised = files.split_whitespace().skip(3).take(2).eq(["1000", "1000"]);
        cluster.check(raised, &format!("the limit is raised in {pid}: {files}"));
    }
    cluster.stop();
}

/// Mutation: leave SIGINT's default in the worker.
#[test]
fn a_ctrl_c_reaches_everybody_and_workers_still_drain() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let mut held = Connection::to(&address);
    held.begin();
    // As the terminal does: to each of the group.
    for id in 1..=2 {
        cluster.signal_worker(id, Signal::INT);
    }
    cluster.signal(Signal::INT);
    cluster.logged("SIGINT: stopping");
    let reply = held.finish().reply();
    assert_eq!(reply.status, 200, "what was begun is answered");
    cluster.ends(0);
}

/// Mutation: have `begin_unclustered` set no handler, or give messages to nobody.
#[test]
fn unclustered_the_program_serves_hears_itself_and_ends_well() {
    let path = std::env::temp_dir().join(format!("cluster-unclustered-{}.sock", std::process::id()));
    let address = format!("unix:{}", path.display());
    let mut cluster = Cluster::of("serve").workers(0).bind(&address).start();
    cluster.eventually("it serves", || matches!(attempt(&address, "/"), Outcome::Answered(_)));
    let reply = ask(&address, "/");
    let pid = cluster.pid();
    cluster.check((reply.worker(), reply.pid()) == (1, pid), "it is worker 1, and itself");
    ask(&address, "/say/hello");
    cluster.until("its own message", |story| {
        let own = |event: &Event| matches!(event, Event::Message { id: 1, body } if body == "Say(\"hello\")");
        story.events().any(own).then_some(())
    });
    ask(&address, "/tell/1/you");
    cluster.said("heard 1 you");
    cluster.stop();
    assert!(!path.exists(), "the socket's file is left");
}
