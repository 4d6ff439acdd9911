//! Workers by exec: the same program, whatever has become of its file.

use std::path::PathBuf;
use std::{env, fs, process as this};

use cluster_tests::client::ask;
use cluster_tests::{Cluster, Signal, forks, process};

fn path(name: &str) -> PathBuf {
    env::temp_dir().join(format!("cluster-{name}-{}", this::id()))
}

/// A copy of `serve` runs, something happens to the copy, and a worker is killed: its replacement is `serve`.
fn survives(name: &str, happens: impl FnOnce(&PathBuf)) {
    let copy = path(name);
    let mut cluster = Cluster::of("serve").copied_to(&copy).workers(2).env("CLUSTER_SPAWN", "exec").start();
    let address = cluster.up(2);
    happens(&copy);
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.listening(3);
    cluster.up(2);
    assert_eq!(ask(&address, "/").status, 200);
    let (primary, worker) = (cluster.pid(), cluster.fork(3).pid);
    let image = |pid| fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default().display().to_string();
    cluster.check(image(worker) == image(primary), "the same image in both");
    cluster.check(image(worker).ends_with("(deleted)"), "an image without a file");
    let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    cluster.check(name(worker) == name(primary), "the program's name in both");
    cluster.stop();
    drop(fs::remove_file(&copy));
}

/// Mutation: exec the file by its name.
#[test]
fn p29_r27_after_the_binary_was_replaced_a_worker_is_respawned_from_the_old_one() {
    survives("p29", |copy| {
        let other = copy.with_extension("new");
        fs::copy("/bin/false", &other).expect("copy another program");
        fs::rename(other, copy).expect("rename it over the fixture");
    });
}

/// Mutation: as for P29.
#[test]
fn p30_after_the_binary_was_deleted_a_worker_is_respawned() {
    survives("p30", |copy| fs::remove_file(copy).expect("delete the fixture"));
}

/// Mutation: run preload in the primary, or nowhere.
#[test]
fn preload_runs_in_each_worker() {
    let mut cluster = Cluster::of("preload").workers(2).env("CLUSTER_SPAWN", "exec").start();
    let address = cluster.up(2);
    for pid in [cluster.fork(1).pid, cluster.fork(2).pid] {
        cluster.said(&format!("preload in {pid}"));
    }
    assert_eq!(ask(&address, "/").status, 200);
    let story = cluster.stop();
    assert_eq!(
        story.events().filter(|event| format!("{event:?}").contains("preload in")).count(),
        2,
        "{story}"
    );
}

/// Mutation: let a worker serve whose preload failed; print nothing.
#[test]
fn a_preload_that_fails_in_a_worker_ends_the_program() {
    let mut cluster =
        Cluster::of("preload").workers(1).env("CLUSTER_SPAWN", "exec").env("TEST_HOW", "error").start();
    cluster.expect_log("preload failed: \"the model file is missing\"");
    cluster.expect_log("before it was ready");
    cluster.ends(1);
}

/// Mutation: fork from a primary with another thread; let SIGTERM end it by way of that thread; start no worker.
#[test]
fn threads_from_before_the_start_keep_it_from_forking_and_from_nothing_else() {
    if !forks() {
        return;
    }
    for fixture in ["threads", "threads preload"] {
        let mut words = fixture.split(' ');
        let mut cluster = Cluster::of(words.next().unwrap_or_default())
            .workers(2)
            .env("TEST_PRELOAD", words.next().unwrap_or_default())
            .start();
        let address = cluster.up(2);
        assert_eq!(ask(&address, "/").status, 200);
        cluster.expect_log("SIGKILL");
        cluster.signal_worker(1, Signal::KILL);
        cluster.listening(3);
        cluster.up(2);
        let state = process::state(cluster.fork(3).pid);
        cluster.check(state.is_some_and(|(_, parent)| parent == cluster.pid()), "the primary's child");
        let story = cluster.stop();
        let told =
            story.log().filter(|line| line.contains("only a process of one thread can be forked")).count();
        assert_eq!(told, 1, "{story}");
    }
}
