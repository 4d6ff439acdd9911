//! Workers of another user than the primary's.

use std::fs;
use std::time::Duration;

use cluster_tests::client::ask;
use cluster_tests::{Cluster, Signal, is_root};

const NOBODY: u32 = 65534;

/// Real, effective, saved, and for the file system.
fn ids(pid: u32, what: &str) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap_or_default();
    line.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Mutation: set only the effective ids; leave the primary's supplementary groups; become it once the body runs.
#[test]
fn r24_workers_become_another_user_for_good_and_serve() {
    if !is_root() {
        return;
    }
    for fixture in ["serve", "preload"] {
        let mut cluster =
            Cluster::of(fixture).workers(2).env("CLUSTER_USER", NOBODY).env("CLUSTER_GROUP", 4242).start();
        let address = cluster.up(2);
        cluster.expect_log("SIGKILL");
        cluster.signal_worker(1, Signal::KILL);
        cluster.listening(3);
        cluster.up(2);
        for id in [2, 3] {
            let pid = cluster.fork(id).pid;
            cluster.check(ids(pid, "Uid:") == [NOBODY; 4], "that user, in all respects");
            cluster.check(ids(pid, "Gid:") == [4242; 4], "that group, in all respects");
            cluster.check(!ids(pid, "Groups:").contains(&0), "none of root's groups");
        }
        let primary = cluster.pid();
        cluster.check(ids(primary, "Uid:") == [0; 4], "the primary to be who it was");
        assert_eq!(ask(&address, "/").status, 200);
        cluster.stop();
    }
}

/// Mutation: ask for the signal of the primary's death before the user changes.
#[test]
fn r24_workers_of_another_user_follow_their_primary() {
    if !is_root() {
        return;
    }
    let mut cluster = Cluster::of("no_pdeathsig").workers(2).env("CLUSTER_USER", "nobody").start();
    cluster.up(2);
    cluster.said("pdeathsig was Some(15)");
    cluster.signal(Signal::KILL);
    assert_eq!(cluster.orphaned(Duration::from_secs(10)), [0, 0]);
}

/// Mutation: go on as who one is where the other can't be become.
#[test]
fn r24_who_may_not_become_another_user_is_told_and_nothing_runs() {
    // Whoever runs this test: the cluster is not root's.
    let plan = Cluster::of("serve").workers(2).env("CLUSTER_USER", "root");
    let mut cluster = if is_root() { plan.run_by(NOBODY) } else { plan }.start();
    cluster.expect_log("as user root, which only root may become: ");
    cluster.expect_log("before it was ready");
    let story = cluster.ends(1);
    assert!(story.addresses().is_empty(), "{story}");
}

/// Mutation: look names up in the worker, or take an unknown one for nobody.
#[test]
fn r24_an_unknown_user_ends_the_program_before_anything_starts() {
    for (variable, told) in [("CLUSTER_USER", "user = "), ("CLUSTER_GROUP", "group = ")] {
        let mut cluster = Cluster::of("serve").workers(2).env(variable, "no such name").start();
        cluster.expect_log(&format!("{told}\"no such name\" is not known here"));
        let story = cluster.ends(1);
        assert_eq!(story.forks().count(), 0, "{story}");
    }
}

/// Mutation: change the user of the thread that runs the body only; keep the capabilities of before.
#[test]
fn s18_s19_s21_every_thread_of_a_worker_is_that_user_without_groups_and_capabilities_of_before() {
    if !is_root() {
        return;
    }
    let mut cluster = Cluster::of("serve")
        // With groups to lose, where there is a tool for it.
        .after("command -v setpriv > /dev/null && exec setpriv --groups 7,8 -- \"$0\" \"$@\"")
        .workers(1)
        .env("CLUSTER_USER", NOBODY)
        .env("CLUSTER_GROUP", 4242)
        .start();
    let address = cluster.up(1);
    assert_eq!(ask(&address, "/").status, 200);
    let pid = cluster.fork(1).pid;
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let mut threads = 0;
    for task in tasks.flatten() {
        // One that has done what it was for may have ended since it was listed.
        let Ok(status) = std::fs::read_to_string(task.path().join("status")) else { continue };
        let line = |what: &str| {
            status.lines().find_map(|line| line.strip_prefix(what)).expect("a line of it").trim()
        };
        let numbers = |what: &str| line(what).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            numbers("Uid:"),
            [NOBODY.to_string(), NOBODY.to_string(), NOBODY.to_string(), NOBODY.to_string()]
        );
        assert_eq!(numbers("Gid:"), ["4242"; 4]);
        assert!(numbers("Groups:").iter().all(|group| group == "4242"), "{status}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(line(set), "0000000000000000", "{set} {status}");
        }
        threads += 1;
    }
    assert!(threads > 1, "there is a thread for the channel, and one that serves");
    cluster.stop();
}

/// Mutation: leave it at the error; say it for each worker.
#[test]
fn r24_a_primary_that_may_not_signal_its_workers_ends_them_by_their_channels() {
    if !is_root() {
        return;
    }
    let plan = Cluster::of("no_cap_kill").workers(2).env("CLUSTER_USER", "nobody");
    let mut cluster = plan.env("CLUSTER_DRAIN_TIMEOUT", "200ms").start();
    cluster.said("body 1");
    cluster.said("body 2");
    cluster.expect_log("without CAP_KILL");
    cluster.expect_log("since its time was over");
    cluster.signal(Signal::TERM);
    let story = cluster.ends(0);
    assert_eq!(story.exits().filter(|exit| exit.code == Some(0)).count(), 2, "{story}");
    assert_eq!(story.log().filter(|line| line.contains("CAP_KILL")).count(), 1, "{story}");
}
