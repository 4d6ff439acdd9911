//! What a new worker says before it is ready: told where it fails, and otherwise as if nobody listened.

use std::fs;
use std::time::Duration;

use cluster_tests::{Cluster, Event, Signal, process};

use super::failure;

/// The second generation's worker, the child that it has started, and what its standard error was then: it may be ready by now.
fn second(cluster: &mut Cluster) -> (u32, u32, String) {
    cluster.signal(Signal::HUP);
    cluster.until("the second generation", |story| {
        story.events().find_map(|event| match event {
            Event::Said(line) => {
                let (child, rest) = line.strip_prefix("child ")?.split_once(" of ")?;
                let (worker, stderr) = rest.split_once(" on ")?;
                Some((worker.parse().ok()?, child.parse().ok()?, stderr.to_owned()))
            }
            _ => None,
        })
    })
}

/// What it has counted, as far as that was heard.
fn counted(cluster: &Cluster) -> Vec<usize> {
    cluster.story().log().filter_map(|line| line.strip_prefix("counts ")?.parse().ok()).collect()
}

fn stderr_of(pid: u32) -> String {
    process::descriptors(pid)
        .into_iter()
        .find(|(number, _)| *number == 2)
        .map(|(_, what)| what)
        .unwrap_or_default()
}

/// Mutation: keep no tail; keep it of what was printed first; pass nothing on.
#[test]
fn a_reload_that_fails_tells_what_the_new_worker_said_last() {
    for output in ["inherit", "tagged", "captured"] {
        for (how, words) in [("error", "the new configuration is wrong"), ("panic", "a bug in the new code")]
        {
            let mut cluster = Cluster::of("reload")
                .workers(1)
                .env("TEST_GENERATIONS", 2)
                .env("TEST_HOW", how)
                .env("CLUSTER_OUTPUT", output)
                .start();
            cluster.logged("listens on");
            cluster.expect_log("reload: ");
            cluster.expect_log("before it was ready: it said: ");
            cluster.signal(Signal::HUP);
            if output != "captured" {
                // Where it always goes, too.
                cluster.expect_log(words);
                if output == "tagged" {
                    cluster.expect_log("[slot 0 ");
                }
                if how == "panic" {
                    cluster.expect_log("thread 'main'");
                }
            }
            if output == "inherit" {
                let failure = failure(&mut cluster, 2);
                assert!(failure.contains("it said: \"") && failure.contains(words), "{failure}");
            } else {
                cluster.logged("serve on");
            }
            let story = cluster.stop();
            let told =
                story.log().filter(|line| line.contains("it said: \"") && line.contains(words)).count();
            assert_eq!(told, 2, "its end, and the reload's: {story}");
        }
    }
}

/// Mutation: have it print to the primary's at once when it is told to, and leave what is in the pipe to the primary; close the
/// pipe when it is ready.
#[test]
fn one_that_is_ready_prints_by_itself_and_all_in_order() {
    let mut cluster = Cluster::of("speaks").env("TEST_LINES", 40_000).start();
    cluster.said("up 1");
    let (worker, child, stderr) = second(&mut cluster);
    cluster.expect_log("counts ");
    cluster.check(stderr != stderr_of(cluster.pid()), "a pipe until it is ready");
    cluster.said("reload 2 ok");
    cluster.said("up 2");
    cluster.logged("counts 39999");
    let counted = counted(&cluster);
    let wrong = counted.iter().zip(0..).find(|(counted, n)| *counted != n);
    assert_eq!((wrong, counted.len()), (None, 40_000), "nothing is lost, and all in order");
    let primary = stderr_of(cluster.pid());
    cluster.eventually("the primary's own standard error", || stderr_of(worker) == primary);
    // It was started while there was the pipe, and has it still.
    cluster.expect_log("the child speaks");
    cluster.eventually("the child to stop", || process::state(child).is_some_and(|(state, _)| state == 'T'));
    process::signal(child, Signal::CONT);
    cluster.logged("the child speaks");
    cluster.stop();
}

/// Mutation: give it the primary's whatever it prints to.
#[test]
fn a_standard_error_of_its_own_is_left_to_it() {
    let path = std::env::temp_dir().join(format!("cluster-words-{}", std::process::id()));
    let mut cluster = Cluster::of("speaks").env("TEST_LINES", 10).env("TEST_OWN", path.display()).start();
    cluster.said("up 1");
    let (worker, child, _) = second(&mut cluster);
    cluster.said("up 2");
    cluster.exit(1);
    cluster.check(stderr_of(worker) == path.display().to_string(), "the file that it has chosen");
    let lines = fs::read_to_string(&path).expect("what it said").lines().count();
    assert_eq!(lines, 10);
    cluster.expect_log("the child speaks");
    cluster.eventually("the child to stop", || process::state(child).is_some_and(|(state, _)| state == 'T'));
    process::signal(child, Signal::CONT);
    cluster.logged("the child speaks");
    cluster.stop();
    fs::remove_file(&path).expect("remove what it said");
}

/// Mutation: give it the end of the pipe for writing alone: the first line that nobody reads would end it.
#[test]
fn one_that_is_not_ready_goes_as_others_when_the_primary_is_killed() {
    let mut cluster = Cluster::of("speaks").start();
    cluster.said("up 1");
    let (_, child, _) = second(&mut cluster);
    cluster.expect_log("counts ");
    cluster.logged("counts 1000");
    process::signal(child, Signal::KILL);
    cluster.signal(Signal::KILL);
    assert_eq!(cluster.orphaned(Duration::from_secs(10)), [0, 0]);
}
