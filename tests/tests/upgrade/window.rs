//! What happens between the end of one program and the beginning of the other.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::client::ask;
use cluster_tests::upgrades::Disk;
use cluster_tests::{Cluster, Event, PATIENCE, Signal, can_inject, forks, process};

/// Mutation: look for the ends of adopted workers only when they are told; leave out the pidfds.
#[test]
fn p100_a_worker_that_dies_while_no_program_looks_is_reaped_and_replaced() {
    let disk = Disk::of("p100");
    let mut cluster = disk.plan("serve").workers(2).start();
    let address = cluster.up(2);
    cluster.expect_log("SIGKILL");
    disk.put("successor");
    disk.hold(cluster.pid());
    cluster.signal(Signal::USR2);
    cluster.said("holding");
    let pid = cluster.fork(1).pid;
    cluster.signal_worker(1, Signal::KILL);
    assert!(process::exits_within(pid, PATIENCE));
    disk.let_go();
    let exit = cluster.exit(1);
    assert_eq!(exit.signal.as_deref(), Some("SIGKILL"));
    cluster.said("upgrade 2 ok");
    cluster.up(2);
    assert!(ask(&address, "/").worker() > 2);
    cluster.stop();
}

/// Mutation: read the signals once more before the exec, and forget them; leave them unblocked.
#[test]
fn p145_a_stop_in_the_window_is_a_graceful_stop() {
    for signal in [Signal::TERM, Signal::INT] {
        let disk = Disk::of("p145-stop");
        let mut cluster = disk.plan("serve").workers(2).start();
        cluster.up(2);
        disk.put("successor");
        disk.hold(cluster.pid());
        cluster.signal(Signal::USR2);
        cluster.said("holding");
        cluster.signal(signal);
        disk.let_go();
        let story = cluster.ends(0);
        assert!(story.exits().all(|exit| exit.code == Some(0)), "{story}");
        assert!(
            story
                .events()
                .any(|event| matches!(event, Event::Said(line) if line.contains("the cluster stops")))
        );
    }
}

/// Every signal that has a meaning or none, again and again, while one program follows on the other.
///
/// Mutation: unblock the signals before the exec; give the mask back before there is somebody who reads them.
#[test]
fn p145_a_storm_of_signals_ends_nothing() {
    let disk = Disk::of("p145-storm");
    let mut cluster = disk.plan("successor").workers(2).start();
    let address = cluster.up(2);
    let (over, end) = mpsc::channel::<()>();
    let primary = cluster.pid();
    let storm = thread::spawn(move || {
        let signals = [
            Signal::HUP,
            Signal::USR1,
            Signal::CHILD,
            Signal::PIPE,
            Signal::WINCH,
            Signal::USR2,
            Signal::CONT,
        ];
        let mut sent = 0;
        while end.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
            process::signal(primary, signals[sent % signals.len()]);
            sent += 1;
        }
        sent
    });
    let done = |cluster: &Cluster| {
        let said = cluster.story().events().filter(|event| {
            matches!(event, Event::Said(line) if line.starts_with("upgrade ") && line.ends_with(" ok"))
        });
        said.count()
    };
    // What SIGUSR1 prints.
    cluster.expect_log("  ");
    // Of those that come while one is under way, each is refused.
    cluster.expect_log("not now");
    let end = Instant::now() + 8 * PATIENCE;
    while done(&cluster) < 20 {
        cluster.check(Instant::now() < end, "twenty upgrades in time");
        cluster.listen_for(Duration::from_millis(20));
        let _ = ask(&address, "/");
    }
    drop(over);
    assert!(storm.join().expect("the storm") > 100);
    // What it has asked for last may be under way.
    cluster.listen_for(Duration::from_millis(500));
    cluster.eventually("nobody who comes or goes", || process::children_of(primary).len() == 2);
    cluster.up(2);
    cluster.stop();
}

/// The nursery has told of a birth, and is ended by the exec, before whoever was born came to tell of it, too.
///
/// Mutation: have a newborn end where nobody hears that it is born.
#[test]
fn who_is_born_right_before_the_exec_lives_on() {
    if !forks() || !can_inject() {
        return;
    }
    let disk = Disk::of("newborn");
    let mut cluster = disk.plan("preload").workers(2).start();
    cluster.up(2);
    let nursery = cluster.until("the nursery", |story| {
        story.events().find_map(|event| match event {
            Event::Said(line) => line.strip_prefix("preload in ")?.parse::<u32>().ok(),
            _ => None,
        })
    });
    // Whoever says its first word is held up for long: the nursery once, and each newborn.
    let mut strace = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "trace=sendmsg"])
        .args(["-e", "inject=sendmsg:delay_enter=1000000:when=1", "-p", &nursery.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("start strace");
    // Open to the end: it says more when it meets the newborn.
    let (mut said, mut words) = (String::new(), BufReader::new(strace.stderr.take().expect("piped")));
    words.read_line(&mut said).expect("its word");
    cluster.check(said.contains("attached"), "strace to be attached");
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.listening(3);
    cluster.signal_worker(2, Signal::KILL);
    cluster.fork(4);
    cluster.signal(Signal::USR2);
    cluster.said("upgrade 2 ok");
    let online = |event: &Event| matches!(event, Event::Online { id: 4, .. });
    cluster.until("the newborn to come as far as its code", |story| story.events().any(online).then_some(()));
    cluster.stop();
    strace.wait().expect("strace's end");
}
