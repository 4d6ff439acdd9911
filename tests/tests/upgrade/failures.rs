//! Upgrades that come to nothing: whoever asked is told why, and the program before serves on.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use std::{fs, net};

use cluster_tests::client::{ask, meets};
use cluster_tests::load::{Load, Tally};
use cluster_tests::upgrades::Disk;
use cluster_tests::{Cluster, Signal, can_inject, forks, process};

use super::{failure, upgrade};

/// Which file a process runs.
fn image(pid: u32) -> (u64, u64) {
    let file = fs::metadata(format!("/proc/{pid}/exe")).expect("a process has a program");
    (file.dev(), file.ino())
}

fn cluster(disk: &Disk) -> Cluster {
    let mut cluster = disk.plan("serve").workers(2).env("CLUSTER_STARTUP_TIMEOUT", "5s").start();
    cluster.up(2);
    cluster.expect_log("upgrade: ");
    cluster
}

/// Nobody has served but the workers that were there.
fn the_same(cluster: &mut Cluster, tally: &Tally) {
    let same = tally.by_worker.keys().all(|id| [1, 2].contains(id));
    cluster.check(same, &format!("the same workers as before: {tally:?}"));
}

/// After a failure: the same workers of the same program, nobody else, and a good program takes over as ever.
fn serves_on(disk: &Disk, mut cluster: Cluster, program: (u64, u64), workers: &[u64], next: u64) {
    let address = cluster.up(2);
    assert_eq!(image(cluster.pid()), program, "the program before");
    let mut listening = cluster.story().listening();
    listening.sort_unstable();
    cluster.check(listening == workers, "the same workers");
    let mark = cluster.mark().to_owned();
    cluster.eventually("nobody else", || process::marked(&mark).len() == 3);
    meets(&address, "worker", workers);
    disk.order("");
    disk.put("successor");
    upgrade(&mut cluster, next);
    assert_ne!(image(cluster.pid()), program, "another program");
    cluster.stop();
}

/// What is on disk is not fit: nothing has changed, under load.
fn is_unfit(disk: &Disk, put: impl FnOnce(), log: &[&str], told: &str) {
    let mut cluster = cluster(disk);
    log.iter().for_each(|part| cluster.expect_log(part));
    let address = cluster.up(2);
    let program = image(cluster.pid());
    put();
    let load = Load::mixed(&address, 2, 2);
    load.served(20);
    cluster.signal(Signal::USR2);
    let why = failure(&mut cluster, 2);
    let begin = "the program on disk can't take over: ";
    assert!(why.starts_with(begin) && why.contains(told), "{why:?} instead of {told:?}");
    load.served(20);
    let tally = load.stop();
    cluster.check(tally.harmed() + tally.refused == 0, &format!("nothing lost: {tally:?}"));
    serves_on(disk, cluster, program, &[1, 2], 3);
}

fn does(order: &str, log: &[&str], told: &str) {
    let word = order.split(' ').next().unwrap_or_default();
    let disk = Disk::of(&format!("p85-{word}"));
    let put = || {
        disk.put("successor");
        disk.order(order);
    };
    is_unfit(&disk, put, log, told);
}

/// Mutation: take the end of the check for its success.
#[test]
fn p85_a_program_that_exits_panics_or_aborts_changes_nothing() {
    does("exit 1", &[], "program: it exited with status 1");
    does("exit 0", &[], "program: it did not answer");
    does("panic", &["panicked at", "a bug in the new program"], "program: it exited with status 101");
    does("abort", &[], "program: it was killed by SIGABRT");
}

/// Mutation: wait for the answer without a deadline; leave the child alone when it is over.
#[test]
fn p86_a_program_that_hangs_is_killed_and_changes_nothing() {
    does("hang", &[], "no answer within 5s (startup_timeout)");
}

/// Mutation: pass over the protocol of the answer; read an answer without a limit.
#[test]
fn p85_a_program_that_answers_otherwise_changes_nothing() {
    does("protocol", &[], "it speaks version 99 of the cluster's protocol (other)");
    does("stutter", &[], "its answer is longer than 4096 bytes");
    does("user", &[], "nobody of this name");
}

/// Mutation: open the program by its name a second time.
#[test]
fn p85_p108_what_is_no_program_changes_nothing() {
    let unfit = |name: &str, put: &dyn Fn(&Disk), told: &str| {
        let disk = Disk::of(&format!("p108-{name}"));
        is_unfit(&disk, || put(&disk), &[], told);
    };
    unfit("mode", &|disk| disk.put_copy(Path::new("/bin/true"), 0o644), "Permission denied");
    unfit("text", &|disk| disk.put_copy(Path::new("/proc/self/status"), 0o755), "Exec format error");
    unfit("none", &|disk| fs::remove_file(disk.program()).expect("remove the program"), "No such file");
    let folder = |disk: &Disk| {
        fs::remove_file(disk.program()).expect("remove the program");
        fs::create_dir(disk.program()).expect("a folder in its place");
    };
    let disk = Disk::of("p108-folder");
    let mut cluster = cluster(&disk);
    folder(&disk);
    cluster.signal(Signal::USR2);
    assert!(failure(&mut cluster, 2).contains("not a file"));
    fs::remove_dir(disk.program()).expect("remove the folder");
    let program = image(cluster.pid());
    serves_on(&disk, cluster, program, &[1, 2], 3);
}

/// The exec itself fails, though the check did not: the program has lost its permission in between.
///
/// Mutation: let go of something before the exec; leave the signals blocked after it; leave descriptors open for children.
#[test]
fn p108_an_exec_that_fails_changes_nothing() {
    let disk = Disk::of("p108-lock");
    let mut cluster = cluster(&disk);
    let program = image(cluster.pid());
    let status = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
        // Not SigQ, which is the user's: other tests' processes are in it.
        let masks = |line: &&str| line.starts_with("Sig") && !line.starts_with("SigQ");
        status.lines().filter(masks).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = status(cluster.pid());
    disk.put("serve");
    disk.put_copy(&disk.program().with_file_name("../successor"), 0o755);
    disk.order("lock");
    cluster.signal(Signal::USR2);
    let why = failure(&mut cluster, 2);
    assert_eq!(why, "executing the program on disk: Permission denied (os error 13)");
    assert_eq!(status(cluster.pid()), before);
    serves_on(&disk, cluster, program, &[1, 2], 3);
}

/// Errors that no file brings about.
///
/// Mutation: as above.
#[test]
fn p108_whatever_the_kernel_says_of_the_exec_the_program_before_goes_on() {
    if !can_inject() {
        return;
    }
    for error in ["ENOMEM", "E2BIG", "ETXTBSY", "EMFILE"] {
        let disk = Disk::of(&format!("p108-{error}"));
        let trace = disk.path("trace");
        let fault = format!("execveat:error={error}:when=1");
        let mut cluster = disk.plan("serve").workers(2).inject(&fault, &trace.display().to_string()).start();
        let address = cluster.up(2);
        cluster.expect_log("executing the program on disk");
        let load = Load::mixed(&address, 2, 2);
        load.served(20);
        cluster.signal(Signal::USR2);
        let why = failure(&mut cluster, 2);
        assert!(why.starts_with("executing the program on disk: "), "{why}");
        load.served(20);
        // The next one is let through.
        upgrade(&mut cluster, 3);
        load.served(20);
        let tally = load.stop();
        cluster.check(tally.harmed() + tally.refused == 0, &format!("nothing lost: {tally:?}"));
        cluster.stop();
    }
}

/// Mutation: let a second one begin; drop it without a word.
#[test]
fn p87_a_second_upgrade_while_the_first_runs_is_refused() {
    let disk = Disk::of("p87");
    let mut cluster = cluster(&disk);
    let address = cluster.up(2);
    let program = image(cluster.pid());
    disk.put("successor");
    disk.order("hang");
    cluster.signal(Signal::USR2);
    cluster.logged("asking");
    let _ = ask(&address, "/upgrade");
    assert_eq!(failure(&mut cluster, 3), "not now: that to generation 2 is under way");
    assert!(failure(&mut cluster, 2).contains("no answer"));
    serves_on(&disk, cluster, program, &[1, 2], 4);
}

/// The new program takes over, and its first worker is never ready: the one before is back, and nobody has noticed.
///
/// Mutation: let go of the image before as soon as the new one runs.
#[test]
fn p105_a_new_program_whose_workers_fail_goes_back_to_the_one_before() {
    let disk = Disk::of("p105");
    let mut cluster = cluster(&disk);
    let address = cluster.up(2);
    cluster.expect_log("status 7");
    let program = image(cluster.pid());
    disk.put("successor");
    disk.order("unready");
    let load = Load::mixed(&address, 3, 3);
    load.served(50);
    cluster.signal(Signal::USR2);
    let why = failure(&mut cluster, 2);
    assert!(why.starts_with("the new program's worker 3 exited with status 7"), "{why}");
    load.served(50);
    let tally = load.stop();
    cluster.check(tally.harmed() + tally.refused == 0, &format!("nothing lost: {tally:?}"));
    the_same(&mut cluster, &tally);
    cluster.check(cluster.story().life(3).last() == Some(&"exit"), "the end of worker 3 to be told");
    serves_on(&disk, cluster, program, &[1, 2], 3);
}

/// It can't even begin: its code for the primary panics, or an address that it names is in use.
///
/// Mutation: take the descriptors before the code for the primary has run and drop them with it.
#[test]
fn p105_a_new_program_that_can_not_take_over_goes_back_to_the_one_before() {
    let taken = net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let listen = format!("listen {}", taken.local_addr().expect("an address"));
    for (order, log, told) in [
        ("callback", &["panicked at", "a bug in the new callback"][..], "its code for the primary panicked"),
        (listen.as_str(), &[], "Address already in use"),
    ] {
        let word = order.split(' ').next().unwrap_or_default();
        let disk = Disk::of(&format!("p105-{word}"));
        let mut cluster = cluster(&disk);
        log.iter().for_each(|part| cluster.expect_log(part));
        let address = cluster.up(2);
        let program = image(cluster.pid());
        disk.put("successor");
        disk.order(order);
        let load = Load::mixed(&address, 3, 3);
        load.served(50);
        cluster.signal(Signal::USR2);
        let why = failure(&mut cluster, 2);
        assert!(why.starts_with("the new program did not take over: ") && why.contains(told), "{why}");
        load.served(50);
        let tally = load.stop();
        cluster.check(tally.harmed() + tally.refused == 0, &format!("nothing lost: {tally:?}"));
        the_same(&mut cluster, &tally);
        serves_on(&disk, cluster, program, &[1, 2], 3);
    }
}

/// Nor does its code for the primary ever come back, and that only where it is the primary: who asked it has not seen it run.
///
/// Mutation: keep no way back; exec on the thread that exits; leave a descriptor CLOEXEC, or a signal unblocked.
#[test]
fn p105_a_new_program_whose_code_for_the_primary_never_comes_back_is_left_again() {
    for order in ["hangs", "spins", "exits", "aborts", "exits-elsewhere", "aborts-everywhere", "is-aborted"] {
        let disk = Disk::of(&format!("p105-{order}"));
        let mut cluster = disk.plan("serve").workers(2).env("CLUSTER_STARTUP_TIMEOUT", "5s").start();
        let address = cluster.up(2);
        cluster.expect_log("upgrade: ");
        let program = image(cluster.pid());
        disk.put("successor");
        disk.order(&format!("callback-{order}"));
        let load = Load::mixed(&address, 3, 3);
        load.served(50);
        cluster.signal(Signal::USR2);
        let why = failure(&mut cluster, 2);
        let told = "its code for the primary exited, aborted or took longer than 5s";
        assert!(why.starts_with("the new program did not take over: ") && why.contains(told), "{why}");
        load.served(50);
        let tally = load.stop();
        cluster.check(tally.harmed() + tally.refused == 0, &format!("nothing lost: {tally:?}"));
        the_same(&mut cluster, &tally);
        serves_on(&disk, cluster, program, &[1, 2], 3);
    }
}

/// And one that has come back is on its own: the time is over, and nothing happens.
///
/// Mutation: leave the timer as it is; take the first one of a process, whose number is 0, for none.
#[test]
fn p105_a_new_program_whose_code_for_the_primary_came_back_is_not_left_again() {
    let disk = Disk::of("p105-came-back");
    let mut cluster = disk.plan("serve").workers(2).env("CLUSTER_STARTUP_TIMEOUT", "5s").start();
    let address = cluster.up(2);
    disk.put("successor");
    upgrade(&mut cluster, 2);
    let program = image(cluster.pid());
    cluster.listen_for(Duration::from_millis(5500));
    assert_eq!(image(cluster.pid()), program, "the new program");
    assert_eq!(ask(&address, "/").status, 200);
    cluster.stop();
}

/// Mutation: leave the child of the check to itself.
#[test]
fn p90_a_stop_ends_the_check() {
    let disk = Disk::of("p90");
    let mut cluster = disk.plan("serve").workers(2).start();
    cluster.up(2);
    disk.put("successor");
    disk.order("hang");
    cluster.signal(Signal::USR2);
    cluster.logged("asking");
    cluster.signal(Signal::TERM);
    let story = cluster.ends(0);
    assert!(story.said("upgrade 2 failed: the cluster stops"), "{story}");
}

/// What `preload` needs is gone when the upgrade comes, for the old program too: whoever serves, serves on, and later it is there
/// again.
///
/// Mutation: take the first failure after an exec for that of a program which never could.
#[test]
fn p105_a_preload_that_fails_on_the_way_back_too_ends_nobody() {
    if !forks() {
        return;
    }
    let disk = Disk::of("p105-preload");
    let mut cluster = disk.plan("preload").workers(2).start();
    let address = cluster.up(2);
    for part in ["upgrade: ", "the nursery ", "the model is gone"] {
        cluster.expect_log(part);
    }
    disk.order("the model is gone");
    cluster.signal(Signal::USR2);
    assert!(failure(&mut cluster, 2).contains("the model is gone"));
    // One in the program before, one in the new one, and two in that before again: it is tried, and tried once more.
    cluster.until("one more preload", |story| {
        let preload = |event: &&_| format!("{event:?}").contains("preload in ");
        (story.events().filter(preload).count() >= 4).then_some(())
    });
    ask(&address, "/");
    fs::remove_file(disk.path("how")).expect("remove an order");
    upgrade(&mut cluster, 3);
    cluster.stop();
}

/// `on_upgrade` asks again in the very turn in which the program that hangs is killed.
///
/// Mutation: forget whom the check before has left when another begins.
#[test]
fn p86_who_was_asked_in_vain_is_reaped_though_another_is_asked_at_once() {
    let disk = Disk::of("p86-again");
    let plan = disk.plan("serve").workers(2).env("CLUSTER_STARTUP_TIMEOUT", "5s").env("TEST_AGAIN", 1);
    let mut cluster = plan.start();
    cluster.up(2);
    cluster.expect_log("upgrade: ");
    let program = image(cluster.pid());
    disk.put("successor");
    disk.order("hang");
    cluster.signal(Signal::USR2);
    assert!(failure(&mut cluster, 2).contains("no answer"));
    let primary = cluster.pid();
    let are_well = || process::children_of(primary).len() == 3 && process::zombies_of(primary).is_empty();
    cluster.eventually("two workers and one who is asked", are_well);
    assert!(failure(&mut cluster, 3).contains("no answer"));
    serves_on(&disk, cluster, program, &[1, 2], 4);
}

/// And where the program before, that is back, preloads anew, that may fail as any other time: whoever serves, serves on.
///
/// Mutation: leave out whom the program before has left to be ended; have a preload that fails end the cluster.
#[test]
fn p105_a_nursery_is_followed_by_another_when_the_new_program_can_not_take_over() {
    if !forks() {
        return;
    }
    let disk = Disk::of("p105-nursery");
    let mut cluster = disk.plan("preload").workers(2).start();
    cluster.up(2);
    cluster.expect_log("a bug in the new callback");
    cluster.expect_log("panicked at");
    cluster.expect_log("upgrade: ");
    cluster.expect_log("the nursery");
    disk.put("successor");
    // The preload of the other takes this for an error.
    disk.order("callback");
    cluster.signal(Signal::USR2);
    let why = failure(&mut cluster, 2);
    assert!(why.contains("its code for the primary panicked"), "{why}");
    cluster.logged("another takes its place");
    fs::remove_file(disk.path("how")).expect("remove the order");
    let primary = cluster.pid();
    let are_well = || process::children_of(primary).len() == 3 && process::zombies_of(primary).is_empty();
    cluster.eventually("two workers and a nursery", are_well);
    cluster.stop();
}
