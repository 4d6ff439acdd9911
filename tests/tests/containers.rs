//! As pid 1 of a container, or as the process to which orphans come.

use cluster_tests::client::ask;
use cluster_tests::process::{signal, state, zombies_of};
use cluster_tests::{Cluster, Event, Signal, can_run};

const ORPHANS: usize = 50;

/// Workers leave so many orphans behind: all of them are reaped, nobody takes them for workers, and the primary's own child
/// is left to who waits for it.
fn all_are_reaped(cluster: &mut Cluster, primary: u32) {
    let address = cluster.up(2);
    ask(&address, &format!("/orphans/{ORPHANS}"));
    cluster.until("all orphans to be reaped", |story| {
        let reaped = story.log().filter_map(|line| {
            let (before, _) = line.split_once(" processes were reaped that others")?;
            before.rsplit(' ').next()?.parse::<usize>().ok()
        });
        (reaped.sum::<usize>() == ORPHANS).then_some(())
    });
    assert!(zombies_of(primary).is_empty(), "none stays");
    cluster.said("its child ended with Some(Ok(Some(7)))");
    assert_eq!(cluster.story().exits().count(), 0, "they are no workers");
    assert_eq!(ask(&address, "/").status, 200);
}

/// Mutation: reap nobody; whoever died, at the first look; or by waitpid(-1), which takes workers, too.
#[test]
fn s35_a_subreaper_reaps_whom_others_left_behind_and_nobody_else() {
    let mut cluster = Cluster::of("subreaper").workers(2).start();
    let primary = cluster.pid();
    all_are_reaped(&mut cluster, primary);
    // A worker's end is its own event, whatever else died.
    cluster.expect_log("SIGKILL");
    let address = cluster.up(2);
    ask(&address, "/orphans/3");
    cluster.signal_worker(1, Signal::KILL);
    assert_eq!(cluster.exit(1).signal.as_deref(), Some("SIGKILL"));
    cluster.up(2);
    cluster.stop();
}

/// Mutation: as above; leave SIGTERM to the kernel, which drops it where pid 1 has no handler.
#[test]
fn s35_pid_1_reaps_and_stops_at_sigterm() {
    let alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    if !can_run(&[&alone[..], &["true"]].concat()) {
        return;
    }
    let mut cluster = Cluster::of("subreaper").workers(2).started_by(&alone).start();
    cluster.up(2);
    let children = format!("/proc/{0}/task/{0}/children", cluster.pid());
    let children = std::fs::read_to_string(children).expect("the children of unshare");
    let primary: u32 = children.trim().parse().expect("one child");
    let born = cluster.until("a worker", |story| {
        story.events().find_map(|event| if let Event::Fork(forked) = event { Some(forked.pid) } else { None })
    });
    assert!(born < 10, "pids of their own: {born}");
    all_are_reaped(&mut cluster, primary);
    assert!(state(primary).is_some());
    signal(primary, Signal::TERM);
    cluster.ends(0);
}

/// Where orphans go to another process, whoever is dead here was started here: it is left to who started it, for as long as
/// that takes. Mutation: look for strangers all the same.
#[test]
fn s35_elsewhere_nobody_is_looked_for() {
    let mut cluster = Cluster::of("subreaper").workers(1).env("TEST_WAITS", 4).start();
    cluster.up(1);
    cluster.said("its child ended with Some(Ok(Some(7)))");
    cluster.stop();
}
