//! What a worker is given at its birth: environment, working directory, arguments; and what what it starts is not.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process as this};

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use cluster_tests::client::ask;
use cluster_tests::{Cluster, Event, PATIENCE, Plan, Signal, Story, can_inject, forks, process};

fn born(fork: &str) -> Plan {
    Cluster::of("born").env("TEST_FORK", fork).env("TEST_ALL", "all").args(&["--of", "the $primary"])
}

fn cwd(pid: u32) -> String {
    fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default().display().to_string()
}

const OWN: &str = "a b=$HOME\\n 10 None";
const PLAIN: &str = " 0 Some(\"all\")";

/// Mutation: let what is given to one worker stay for the next; change the primary's own directory and environment; pass
/// no arguments on.
#[test]
fn n10_n28_n59_r28_one_worker_has_a_directory_an_environment_and_a_replacement_of_its_own() {
    let mut cluster = born("own").start();
    let (primary, others) = (cluster.pid(), cwd(cluster.pid()));
    cluster.said(&format!("env 1 {OWN}"));
    cluster.said(&format!("env 2 {PLAIN}"));
    let (own, plain) = (cluster.fork(1).pid, cluster.fork(2).pid);
    cluster.check(cwd(own) == "/proc" && cwd(plain) == others, "a directory of its own, and the primary's");
    cluster.check(cwd(primary) == others, "the primary where it was");
    cluster.said("ready 1");
    cluster.said("ready 2");
    cluster.expect_log("SIGKILL");
    for (dead, slot, env) in [(1, 1, OWN), (2, 0, PLAIN)] {
        cluster.signal_worker(dead, Signal::KILL);
        cluster.exit(dead);
        let next = cluster.fork(dead + 2);
        cluster.check(next.slot == slot, "its place filled");
        cluster.said(&format!("env {} {env}", dead + 2));
        cluster.said(&format!("args {} [\"--of\", \"the $primary\"]", dead + 2));
    }
    let own = cluster.fork(3).pid;
    cluster.check(cwd(own) == "/proc", "the directory of whom it replaces");
    cluster.stop();
}

/// Mutation: hand the arguments to a shell, or split them; fork such a worker.
#[test]
fn r30_arguments_are_given_as_they_are() {
    let mut cluster = born("args").start();
    cluster.said("args 1 [\"$HOME\", \"*; exit 3\", \"\", \"'\\\"\"]");
    cluster.said(&format!("env 1 {OWN}"));
    cluster.said("args 2 [\"--of\", \"the $primary\"]");
    cluster.stop();
}

/// Mutation: check nothing in `fork_with`.
#[test]
fn r39_what_no_process_can_be_given_is_refused_at_once() {
    let mut cluster = born("bad").start();
    cluster.said("refused a variable of the environment can't be named \"A\\0\": a name is not empty and has no `=` and no NUL");
    cluster.said("refused the argument \"\\0\" has a NUL in it, which none can have");
    cluster.said("refused the directory \"/nowhere\": No such file or directory (os error 2)");
    cluster.said(&format!("env 1 {PLAIN}"));
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 1, "{story}");
}

/// Mutation: give up on a worker that can't be born; look at the directory when it is asked for and never again.
#[test]
fn r29_a_directory_that_is_gone_is_told_of_and_tried_again() {
    let folder = env::temp_dir().join(format!("cluster-r29-{}", this::id()));
    fs::create_dir_all(&folder).expect("a directory");
    let mut cluster = born("gone").env("TEST_CWD", folder.display()).start();
    cluster.said(&format!("env 1 {PLAIN}"));
    cluster.said(&format!("env 2 {PLAIN}"));
    let pid = cluster.fork(1).pid;
    assert_eq!(cwd(pid), folder.display().to_string());
    // Once one was ready an end is a worker's own.
    cluster.said("ready 1");
    cluster.said("ready 2");
    fs::remove_dir(&folder).expect("remove it");
    cluster.expect_log("SIGKILL");
    cluster.expect_log("cluster-r29-");
    cluster.signal_worker(1, Signal::KILL);
    cluster.logged("No such file or directory");
    fs::create_dir(&folder).expect("make it again");
    let born = cluster.until("another", |story| story.forks().nth(2).cloned());
    assert_eq!(born.slot, 1);
    cluster.eventually("its directory", || cwd(born.pid) == folder.display().to_string());
    cluster.stop();
    fs::remove_dir(&folder).expect("remove it");
}

/// Mutation: mark workers in the environment, and believe the mark; leave the channel open for a worker's children.
#[test]
fn r07_what_a_worker_starts_is_no_worker_and_comes_to_its_end() {
    let mut cluster = Cluster::of("parent").start();
    cluster.said("child primary true worker false");
    cluster.stop();
}

/// Mutation: read what the nursery is asked for into the 4 KiB that suffice for answers.
#[test]
fn a_large_environment_reaches_a_worker_also_by_the_nursery() {
    for variable in ["TEST_NOTHING", "TEST_PRELOAD"] {
        let mut cluster = born("large").env(variable, 1).start();
        cluster.said("env 1 xxxxxxxxxxxx 80000 None");
        cluster.said("ready 2");
        cluster.stop();
    }
}

/// Mutation: mark workers in the environment, and believe the mark; end a cluster with status 1 whose worker started another.
#[test]
fn r44_a_chain_of_programs_each_started_by_a_worker_of_the_one_before() {
    let mut cluster = Cluster::start("serve", 1);
    let mut address = cluster.up(1);
    let mut primaries = Vec::new();
    for _ in 0..4 {
        let reply = ask(&address, "/again");
        primaries.push(u32::try_from(reply.number("primary").unwrap_or_default()).expect("a pid"));
        address = reply.body.rsplit(' ').next().unwrap_or_default().to_owned();
        assert_eq!(ask(&address, "/").status, 200);
    }
    for primary in primaries.into_iter().rev() {
        process::signal(primary, Signal::TERM);
        cluster.check(process::exits_within(primary, PATIENCE), "each to end when it is told to");
    }
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 1, "{story}");
}

/// Mutation: end the cluster, or try again at once and for ever, where no channel can be made.
#[test]
fn r42_a_primary_without_descriptors_respawns_when_it_has_some() {
    let mut cluster = Cluster::start("serve", 2);
    let address = cluster.up(2);
    let primary = cluster.pid();
    // Whatever a worker gives back has a higher number.
    process::limit_descriptors(primary, 5);
    cluster.expect_log("SIGKILL");
    cluster.expect_log("Too many open files");
    cluster.signal_worker(1, Signal::KILL);
    cluster.logged("Too many open files");
    let before = process::processor_time(primary);
    let began = Instant::now();
    let tries = |story: &Story| story.log().filter(|line| line.contains("Too many open files")).count();
    cluster.until("another try", |story| (tries(story) >= 2).then_some(()));
    cluster.listen_for(Duration::from_secs(1));
    let used = process::processor_time(primary) - before;
    let seconds = began.elapsed().as_secs_f64().ceil();
    cluster.check(
        used < Duration::from_millis(50).mul_f64(seconds),
        &format!("a calm primary, it used {used:?}"),
    );
    let tries = tries(cluster.story());
    cluster
        .check((tries as f64) < 10.0 * seconds, &format!("a try now and then, not {tries} in {seconds} s"));
    process::limit_descriptors(primary, 1024);
    let born = cluster.until("a replacement", |story| story.forks().nth(2).cloned());
    cluster.listening(born.id);
    cluster.up(2);
    assert_eq!(ask(&address, "/").status, 200);
    let story = cluster.stop();
    let told = |event: &&Event| matches!(event.name(), "fork" | "exit");
    assert_eq!(story.events().filter(told).count(), 6, "each has a beginning and an end: {story}");
}

/// Mutation: let the nursery alone tell of a birth; ask the next one for it at once.
#[test]
fn a_nursery_that_is_killed_before_it_tells_of_a_birth_leaves_one_worker_and_no_zombie() {
    if !forks() || !can_inject() {
        return;
    }
    let mut cluster = Cluster::start("preload", 2);
    let nursery = nursery(&mut cluster);
    // Whatever it has to say, it does not get to. Its children are not traced.
    let mut strace = Command::new("strace")
        .args(["-o", "/dev/null", "-e", "trace=sendmsg", "-e", "inject=sendmsg:delay_enter=60000000", "-p"])
        .arg(nursery.to_string())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start strace");
    let mut said = String::new();
    BufReader::new(strace.stderr.take().expect("piped")).read_line(&mut said).expect("its word");
    cluster.check(said.contains("attached"), "strace to be attached");
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    let pid = cluster.fork(3).pid;
    process::signal(nursery, Signal::KILL);
    strace.wait().expect("strace's end");
    cluster.logged("another takes its place");
    cluster.up(2);
    cluster.signal_worker(2, Signal::KILL);
    cluster.listening(4);
    cluster.up(2);
    let births = cluster.story().forks().filter(|fork| fork.id == 3).count();
    cluster.check(births == 1, "one birth");
    cluster.check(!process::exits_within(pid, Duration::ZERO), "that worker to live");
    cluster.stop();
}

fn nursery(cluster: &mut Cluster) -> u32 {
    cluster.until("the nursery", |story| {
        story.events().find_map(|event| match event {
            Event::Said(line) => line.strip_prefix("preload in ")?.parse().ok(),
            _ => None,
        })
    })
}

/// Mutation: use a `HashMap` in the primary before its workers are forked.
#[test]
fn s38_workers_share_no_random_numbers() {
    let mut cluster = Cluster::of("idle").workers(8).start();
    let numbers: BTreeSet<_> = (1..=8).map(|id| cluster.told(&format!("random {id} "))).collect();
    cluster.check(numbers.len() == 8, &format!("each to have its own: {numbers:?}"));
    cluster.stop();
}

/// Whoever traces a process is told of its end first, and only then its parent: its pidfd is readable before.
///
/// Mutation: look at it no more before it could be reaped; or all the time; take it for one that is late.
#[test]
fn a_nursery_whose_tracer_takes_its_time_is_replaced_when_it_lets_go() {
    if !forks() {
        return;
    }
    let mut cluster = Cluster::start("preload", 2);
    let nursery = nursery(&mut cluster);
    let traced = Pid::from_raw(nursery.cast_signed());
    ptrace::seize(traced, ptrace::Options::empty()).expect("trace the nursery");
    process::signal(nursery, Signal::KILL);
    cluster.check(process::exits_within(nursery, PATIENCE), "the nursery's end");
    // Once it has answered, it has seen that end.
    cluster.expect_log("  ");
    cluster.signal(Signal::USR1);
    cluster.logged(", primary ");
    is_calm(&mut cluster, Duration::from_secs(2));
    waitpid(traced, None).expect("let go of it");
    cluster.logged("another takes its place");
    cluster.up(2);
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.listening(3);
    cluster.stop();
}

/// Likewise a worker's end, which may be kept for as long as whoever traces it likes.
///
/// Mutation: wait for what can't be reaped yet.
#[test]
fn a_worker_whose_tracer_takes_its_time_keeps_the_primary_calm_and_is_replaced_when_it_lets_go() {
    let mut cluster = Cluster::start("serve", 2);
    let worker = cluster.fork(1).pid;
    let traced = Pid::from_raw(worker.cast_signed());
    ptrace::seize(traced, ptrace::Options::empty()).expect("trace the worker");
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.check(process::exits_within(worker, PATIENCE), "the worker's end");
    is_calm(&mut cluster, Duration::from_secs(1));
    waitpid(traced, None).expect("let go of it");
    cluster.listening(3);
    cluster.up(2);
    cluster.stop();
}

fn is_calm(cluster: &mut Cluster, time: Duration) {
    let primary = cluster.pid();
    let before = process::processor_time(primary);
    cluster.listen_for(time);
    let used = process::processor_time(primary) - before;
    cluster.check(used < Duration::from_millis(100), &format!("a calm primary, it used {used:?}"));
}

/// What becomes next of a process that this thread traces.
fn next_of(cluster: &mut Cluster, traced: Pid) -> WaitStatus {
    let mut status = WaitStatus::StillAlive;
    cluster.eventually("a traced process to stop or end", || {
        let at_once = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
        status = waitpid(traced, Some(at_once)).expect("ask for it");
        status != WaitStatus::StillAlive
    });
    status
}

/// Nobody else has told of it, and another was asked for it since.
///
/// Mutation: forget the socket of a nursery that is gone.
#[test]
fn a_newborn_that_comes_too_late_leaves_no_zombie() {
    if !forks() {
        return;
    }
    let mut cluster = Cluster::start("preload", 2);
    let nursery = nursery(&mut cluster);
    // Whoever is born stands still before its first word, and so does the nursery before its own.
    let traced = Pid::from_raw(nursery.cast_signed());
    let births = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
    ptrace::seize(traced, births).expect("trace the nursery");
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    let stopped = next_of(&mut cluster, traced);
    assert!(matches!(stopped, WaitStatus::PtraceEvent(..)), "{stopped:?}");
    let newborn = ptrace::getevent(traced).expect("who is born");
    let newborn = Pid::from_raw(newborn.try_into().expect("a pid"));
    process::signal(nursery, Signal::KILL);
    let ended = next_of(&mut cluster, traced);
    assert!(matches!(ended, WaitStatus::Signaled(..)), "{ended:?}");
    cluster.logged("another takes its place");
    cluster.up(2);
    let primary = cluster.pid();
    next_of(&mut cluster, newborn);
    ptrace::detach(newborn, None).expect("let go of it");
    let newborn = newborn.as_raw().cast_unsigned();
    cluster.check(process::exits_within(newborn, PATIENCE), "it to end");
    cluster.eventually("no zombie", || process::zombies_of(primary).is_empty());
    cluster.stop();
}
