//! What workers print: captured, tagged, or thrown away.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs, process as this};

use cluster_tests::client::{Outcome, attempt};
use cluster_tests::{Cluster, Event, Signal, process};

/// Mutation: write on what was captured; pass on no messages while output is captured.
#[test]
fn r40_captured_output_goes_to_the_callback_and_nowhere_else() {
    let mut cluster = Cluster::of("prints").env("TEST_ODD", 1).env("TEST_LINES", 3).start();
    cluster.said("told 1 Stderr false \u{fffd}\u{fffd}");
    cluster.said(&format!("told 1 Stdout true {}", "y".repeat(20)));
    cluster.said(&format!("told 1 Stdout false {}", "y".repeat(20)));
    let story = cluster.stop();
    assert!(story.said("told 1 Stdout false the end"), "{story}");
    // 70 001, three of 8, and the end, which has none; and 3.
    assert!(story.said(&format!("total 1 {} 3", 70_001 + 3 * 8 + 8)), "{story}");
    let printed = |event: &&Event| matches!(event, Event::Said(line) if line.contains("line 0"));
    assert_eq!(story.events().filter(printed).count(), 0, "{story}");
}

/// Mutation: tell of the exit before the last of the output; read no more than once of a dead worker.
#[test]
fn r55_twenty_workers_that_print_a_megabyte_and_end() {
    for how in ["captured", "tagged"] {
        let mut cluster = Cluster::of("prints")
            .env("CLUSTER_OUTPUT", how)
            .env("CLUSTER_RESTART", "never")
            .env("TEST_ENDS", 20)
            // What a pipe takes at once: longer ones may come apart, and what the primary itself prints in between.
            .env("TEST_LENGTH", 2_000)
            .env("TEST_LINES", 500)
            .start();
        cluster.expect_log("exited with status 0");
        cluster.exit(20);
        let story = cluster.ends(0);
        let bytes: usize = (0..500).map(|n| format!("line {n} \n").len() + 2_000).sum();
        for id in 1..=20 {
            let total = format!("total {id} {} 0", bytes + "the end\n".len());
            let at = story.events().position(|event| *event == Event::Said(total.clone()));
            assert!(at.is_some(), "{total}: {how}: {}", story.exits().count());
        }
        let tagged = story
            .events()
            .filter(|event| matches!(event, Event::Said(line) if line.starts_with("[slot 0")))
            .count();
        assert_eq!(tagged, if how == "tagged" { 20 * 501 } else { 0 });
    }
}

/// Mutation: write pieces of lines as they are read; tag with the pid of the primary.
#[test]
fn n63_tagged_lines_are_whole_and_say_whose_they_are() {
    let mut cluster = Cluster::of("prints")
        .workers(4)
        .env("CLUSTER_OUTPUT", "tagged")
        .env("CLUSTER_RESTART", "never")
        .env("TEST_ENDS", 1)
        .env("TEST_LENGTH", 3000)
        .env("TEST_LINES", 500)
        .start();
    cluster.expect_log("exited with status 0");
    let story = cluster.ends(0);
    let slots: BTreeMap<u32, usize> = story.forks().map(|fork| (fork.pid, fork.slot)).collect();
    let mut next = BTreeMap::new();
    for event in story.events() {
        let Event::Said(line) = event else { continue };
        let Some((tag, text)) = line.strip_prefix("[slot ").and_then(|rest| rest.split_once("] ")) else {
            continue;
        };
        let mut tag = tag.split(" · ");
        let slot: usize = tag.next().and_then(|slot| slot.parse().ok()).expect("a slot");
        let pid = tag.next().and_then(|pid| pid.strip_prefix("pid ")?.parse().ok()).expect("a pid");
        assert_eq!((slots.get(&pid), tag.next()), (Some(&slot), Some("gen 1")), "{line}");
        if text != "the end" {
            let number = next.entry(slot).or_insert(0);
            assert_eq!(text, format!("line {number} {}", "x".repeat(3000)), "whole, and in order");
            *number += 1;
        }
    }
    assert_eq!(next, (0..4).map(|slot| (slot, 500)).collect());
}

/// Mutation: leave what a worker prints to behind on its way through the nursery.
#[test]
fn what_is_born_of_a_nursery_prints_there_too() {
    let mut cluster = Cluster::of("preload").workers(2).env("CLUSTER_OUTPUT", "tagged").start();
    cluster.up(2);
    let tags = [1, 2].map(|id| {
        let born = cluster.fork(id);
        format!("[slot {} · pid {} · gen 1] heard {id} the end", born.slot, born.pid)
    });
    let story = cluster.stop();
    tags.iter().for_each(|tag| assert!(story.said(tag), "{tag}: {story}"));
}

/// Mutation: wait for the end of the pipe when a worker has died.
#[test]
fn r31_a_grandchild_that_holds_the_pipe_keeps_nobody() {
    let mut cluster = Cluster::of("prints").env("TEST_CHILD", 1).start();
    let told = cluster.until("the grandchild", |story| {
        let child = |event: &Event| match event {
            Event::Said(line) => line.strip_prefix("told 1 Stdout false child ")?.parse().ok(),
            _ => None,
        };
        story.events().find_map(child)
    });
    let began = Instant::now();
    cluster.signal(Signal::TERM);
    let exit = cluster.exit(1);
    cluster
        .check(exit.voluntary && began.elapsed() < Duration::from_secs(10), "the end of the worker at once");
    process::signal(told, Signal::KILL);
    cluster.ends(0);
}

fn fifo(name: &str) -> PathBuf {
    let fifo = env::temp_dir().join(format!("cluster-{name}-{}", this::id()));
    let made = this::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success(), "mkfifo: {made}");
    fifo
}

/// It is held up by its own pipe.
fn waits_for_a_reader(cluster: &mut Cluster, pid: u32) {
    let place = || fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    cluster.eventually("a worker to wait for a reader", || place().contains("pipe_write"));
}

fn children(pid: u32) -> Vec<u32> {
    let all = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    all.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Mutation: write to the primary's own output as it comes, without a look whether anybody reads; read on meanwhile.
#[test]
fn nobody_reads_the_primarys_output_and_it_lives_on() {
    let fifo = fifo("unread");
    // Open for reading too, so that it is full in the end and not broken.
    let mut cluster = Cluster::of("prints")
        .workers(2)
        .env("CLUSTER_OUTPUT", "tagged")
        .env("TEST_QUIET", 1)
        .env("TEST_LENGTH", 1000)
        .env("TEST_LINES", 100_000)
        .after(&format!("exec 1<>{}", fifo.display()))
        .start();
    let primary = cluster.pid();
    cluster.eventually("two workers", || children(primary).len() == 2);
    let workers = children(primary);
    workers.iter().for_each(|pid| waits_for_a_reader(&mut cluster, *pid));
    cluster.expect_log("SIGKILL");
    process::signal(workers[0], Signal::KILL);
    cluster.logged("SIGKILL");
    cluster.eventually("a replacement", || children(primary).len() == 2);
    let used = process::processor_time(primary);
    cluster.listen_for(Duration::from_secs(1));
    cluster.check(process::processor_time(primary) - used < Duration::from_millis(200), "a calm primary");
    cluster.expect_log("what workers printed last is lost");
    cluster.expect_log("stopped at once");
    cluster.signal(Signal::QUIT);
    cluster.ends(128 + 3);
    fs::remove_file(fifo).expect("remove the pipe");
}

/// Mutation: write what the primary itself reports without a look whether anybody reads.
#[test]
fn nobody_reads_the_primarys_errors_and_it_hears_signals() {
    let fifo = fifo("unheard");
    let mut cluster = Cluster::of("prints")
        .workers(2)
        .env("CLUSTER_OUTPUT", "tagged")
        .env("TEST_LENGTH", 1000)
        .env("TEST_LINES", 100_000)
        .env("TEST_QUIET", 1)
        .after(&format!("exec 1<>{0} 2>&1", fifo.display()))
        .start();
    let primary = cluster.pid();
    cluster.eventually("two workers", || children(primary).len() == 2);
    children(primary).into_iter().for_each(|pid| waits_for_a_reader(&mut cluster, pid));
    cluster.signal(Signal::QUIT);
    cluster.ends(128 + 3);
    fs::remove_file(fifo).expect("remove the pipe");
}

/// Mutation: end, or block, where nobody is left to write to.
#[test]
fn the_primarys_output_is_closed_and_it_lives_on() {
    let fifo = fifo("closed");
    let mut cluster = Cluster::of("prints")
        .workers(2)
        .env("CLUSTER_OUTPUT", "tagged")
        .env("TEST_QUIET", 1)
        .env("TEST_LENGTH", 1000)
        .env("TEST_LINES", 1000)
        .after(&format!("true <{0} & exec 1>{0}; wait $!", fifo.display()))
        .start();
    cluster.expect_log("writing on what workers print: Broken pipe");
    cluster.logged("Broken pipe");
    let story = cluster.stop();
    assert_eq!(story.log().filter(|line| line.contains("Broken pipe")).count(), 1, "told once: {story}");
    fs::remove_file(fifo).expect("remove the pipe");
}

/// Mutation: put sockets and pipes where the standard descriptors are missing.
#[test]
fn r41_started_without_standard_descriptors() {
    for (closed, output) in
        [("exec 0<&-", "inherit"), ("exec 1>&-", "tagged"), ("exec 0<&- 1>&- 2>&-", "tagged")]
    {
        let path = env::temp_dir().join(format!("cluster-r41-{}.sock", this::id()));
        let address = format!("unix:{}", path.display());
        let mut cluster = Cluster::of("serve")
            .workers(2)
            .bind(&address)
            .env("CLUSTER_OUTPUT", output)
            .after(closed)
            .start();
        cluster.eventually("it serves", || matches!(attempt(&address, "/"), Outcome::Answered(_)));
        let primary = cluster.pid();
        for pid in children(primary).into_iter().chain([primary]) {
            let open = process::descriptors(pid);
            let standard = |(number, target): &(u32, String)| *number > 2 || !target.starts_with("socket:");
            cluster
                .check(open.iter().all(standard), &format!("no socket for a standard descriptor: {open:?}"));
        }
        cluster.stop();
        assert!(!path.exists(), "the socket's file is left");
    }
}

/// Mutation: close what the program was started with; take its numbers for the channel.
#[test]
fn n29_what_a_program_was_started_with_is_its_workers_too() {
    let file = env::temp_dir().join(format!("cluster-n29-{}", this::id()));
    let words = format!("exec 3>{0} 4>{0} 9>{0}", file.display());
    let mut cluster = Cluster::of("serve").workers(2).after(&words).start();
    cluster.up(2);
    for id in 1..=2 {
        let pid = cluster.fork(id).pid;
        let open = process::descriptors(pid);
        let ours = open.iter().filter(|(_, target)| *target == file.display().to_string());
        let numbers: Vec<u32> = ours.map(|(number, _)| *number).collect();
        cluster.check(numbers == [3, 4, 9], &format!("each where it was: {open:?}"));
    }
    cluster.stop();
    fs::remove_file(file).expect("remove the file");
}
