//! What is the same after an upgrade: everything that the process was started with, and what it has open.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::{ptrace, wait::waitpid};
use nix::unistd::Pid;

use cluster_tests::client::ask;
use cluster_tests::upgrades::Disk;
use cluster_tests::{Cluster, Signal, forks, process};

use super::{times_said, upgrade};

/// What kinds of descriptors a process has, and how many of each. Sockets and pidfds of other workers are others.
fn kinds(pid: u32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for (_, target) in process::own_descriptors(pid) {
        let kind = target.split(":[").next().unwrap_or_default().to_owned();
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// The descriptors of a process, but for the standard ones, that a program which it starts would inherit.
fn inheritable(pid: u32) -> Vec<(u32, String)> {
    let cloexec = |number: &u32| {
        let flags = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
        let flags = flags.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("02000000").trim();
        u32::from_str_radix(flags, 8).expect("flags in octal") & 0o2_000_000 != 0
    };
    let mut open = process::own_descriptors(pid);
    open.retain(|(number, _)| *number > 2 && !cloexec(number));
    open
}

/// Mutation: keep the image before; keep the state; take a pidfd and do not set CLOEXEC.
#[test]
fn p84_p99_twenty_upgrades_leave_no_descriptor_and_none_that_a_child_would_inherit() {
    let disk = Disk::of("p84");
    let mut cluster = disk.plan("successor").workers(2).start();
    cluster.up(2);
    let primary = cluster.pid();
    let before = kinds(primary);
    for generation in 2..=21 {
        upgrade(&mut cluster, generation);
        cluster.eventually("the same descriptors as before", || kinds(primary) == before);
        let open = inheritable(primary);
        cluster.check(open.is_empty(), &format!("all to be CLOEXEC: {open:?}"));
    }
    cluster.stop();
}

/// Mutation: bind port 0 again.
#[test]
fn p92_port_0_keeps_its_port() {
    let disk = Disk::of("p92");
    let mut cluster = disk.plan("serve").workers(2).start();
    let address = cluster.up(2);
    let inodes = process::listening_inodes(&address);
    disk.put("successor");
    for generation in 2..=4 {
        upgrade(&mut cluster, generation);
        assert!(ask(&address, "/").worker() > 2);
        assert_eq!(process::listening_inodes(&address), inodes, "the very socket");
    }
    cluster.check(cluster.story().addresses() == [address.as_str()], "one address");
    cluster.stop();
}

/// All that an exec could change of a process, as the kernel tells it.
fn circumstances(pid: u32) -> Vec<(&'static str, Vec<u8>)> {
    let mut all: Vec<_> = ["cmdline", "environ", "limits", "comm", "cgroup", "oom_score_adj"]
        .into_iter()
        .map(|name| (name, fs::read(format!("/proc/{pid}/{name}")).expect("a file of /proc")))
        .collect();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    for name in ["Umask", "SigBlk", "SigIgn", "SigCgt", "PPid", "Uid", "Gid", "NoNewPrivs", "CapEff"] {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        all.push((name, line.as_bytes().to_vec()));
    }
    let link = fs::read_link(format!("/proc/{pid}/cwd")).expect("a directory");
    all.push(("cwd", link.into_os_string().into_encoded_bytes()));
    all
}

/// Arguments and environment are not even text; some signals are ignored, and one is blocked.
///
/// Mutation: leave the signals blocked; name the process after the descriptor; pass std's environment on.
#[test]
fn p95_p104_twenty_upgrades_change_nothing_of_the_circumstances() {
    let disk = Disk::of("p95");
    let words = "ulimit -c 0; ulimit -n 500; umask 027; trap '' ALRM; \
                 export ODD=\"$(printf 'a\\377b')\"; set -- \"$@\" \"$(printf 'c\\376d')\" '' ' x '";
    let mut cluster = disk.plan("successor").workers(2).args(&["--one"]).after(words).start();
    cluster.up(2);
    let primary = cluster.pid();
    let before = circumstances(primary);
    let contains = |name: &str, bytes: &[u8]| {
        let (_, value) = before.iter().find(|(other, _)| *other == name).expect("it was read");
        value.windows(bytes.len()).any(|window| window == bytes)
    };
    assert!(contains("cmdline", b"--one\0c\xfed\0\0 x \0") && contains("environ", b"ODD=a\xffb\0"));
    for generation in 2..=21 {
        upgrade(&mut cluster, generation);
        let now = circumstances(primary);
        for (before, now) in before.iter().zip(&now) {
            let told =
                |(name, value): &(&str, Vec<u8>)| format!("{name}: {}", String::from_utf8_lossy(value));
            assert_eq!(told(before), told(now), "after upgrade {generation}");
        }
    }
    // And workers have what they had, too: nothing is blocked in them.
    let newest = cluster.story().forks().last().expect("a worker").pid;
    assert_eq!(process::blocked_signals(newest), "0000000000000000");
    cluster.stop();
}

/// Mutation: exec on another thread than the main one, which the workers' parent death signal is bound to.
#[test]
fn p144_workers_survive_the_exec_twenty_times() {
    let disk = Disk::of("p144");
    let mut cluster =
        disk.plan("successor").workers(4).env("CLUSTER_THREADS", 2).env("CLUSTER_MAX_SURGE", 4).start();
    (1..=4).for_each(|id| drop(cluster.listening(id)));
    // The first thread of each says so, and the lanes of the second are no more than what was open from the beginning: a listener,
    // four channels, and both ends of eight lanes.
    let primary = cluster.pid();
    cluster.eventually("a lane for each thread", || kinds(primary).get("socket") == Some(&21));
    cluster.up(4);
    disk.hold(primary);
    for generation in 2..=21 {
        let pids = |cluster: &Cluster| {
            let living = cluster.story().listening();
            let forks = cluster.story().forks().filter(|fork| living.contains(&fork.id));
            forks.map(|fork| fork.pid).collect::<Vec<_>>()
        };
        cluster.up(4);
        let before = pids(&cluster);
        cluster.signal(Signal::USR2);
        let turn = usize::try_from(generation).expect("a small number") - 1;
        cluster.until("the new program", |story| {
            let held = story.events().filter(|event| format!("{event:?}").contains("holding")).count();
            (held == turn).then_some(())
        });
        for pid in &before {
            let alive =
                process::state(*pid).is_some_and(|(state, parent)| state != 'Z' && parent == cluster.pid());
            cluster.check(alive, &format!("process {pid} to live through the exec"));
        }
        disk.let_go();
        cluster.said(&format!("upgrade {generation} ok"));
    }
    cluster.stop();
}

/// The new program's code for the primary knows the workers that live, and is not told again of their births.
///
/// Mutation: open the desk after the code for the primary; publish the births of adopted workers.
#[test]
fn adopted_workers_are_known_and_their_past_is_not_told_again() {
    let disk = Disk::of("known");
    let mut cluster = disk.plan("serve").workers(2).start();
    cluster.up(2);
    disk.put("successor");
    upgrade(&mut cluster, 2);
    cluster.said("workers [(1, Listening), (2, Listening)]");
    for id in 1..=4 {
        let mut life = cluster.story().life(id);
        life.truncate(3);
        assert_eq!(life, ["fork", "online", "listening"], "worker {id}");
    }
    for id in 1..=2 {
        assert_eq!(cluster.exit(id).reason, "Replaced");
    }
    cluster.stop();
}

/// Mutation: leave the old nursery to itself; start none in the new program.
#[test]
fn each_program_has_a_nursery_of_its_own() {
    if !forks() {
        return;
    }
    let disk = Disk::of("preload");
    let mut cluster = disk.plan("preload").workers(2).start();
    cluster.up(2);
    for generation in 2..=4 {
        upgrade(&mut cluster, generation);
        // The one before has to have a processor to end on.
        let primary = cluster.pid();
        cluster.eventually("two workers and a nursery", || process::children_of(primary).len() == 3);
    }
    let preloads =
        cluster.story().events().filter(|event| format!("{event:?}").contains("preload in ")).count();
    assert_eq!(preloads, 4);
    cluster.stop();
}

/// Whoever traces a process may keep its end for as long as he likes.
///
/// Mutation: wait for the end of the old nursery; forget it.
#[test]
fn the_nursery_of_the_program_before_is_not_waited_for() {
    if !forks() {
        return;
    }
    let disk = Disk::of("traced");
    let mut cluster = disk.plan("preload").workers(2).start();
    let address = cluster.up(2);
    let primary = cluster.pid();
    let known: Vec<_> = cluster.story().forks().map(|fork| fork.pid).collect();
    let nursery = process::children_of(primary).into_iter().find(|pid| !known.contains(pid));
    let traced = Pid::from_raw(nursery.expect("a nursery").cast_signed());
    ptrace::seize(traced, ptrace::Options::empty()).expect("trace the nursery");
    for generation in 2..=3 {
        upgrade(&mut cluster, generation);
        assert!(ask(&address, "/").worker() > 2);
    }
    cluster.eventually("nobody else to be left", || process::zombies_of(primary).len() == 1);
    waitpid(traced, None).expect("let go of it");
    cluster.eventually("it to be reaped", || process::zombies_of(primary).is_empty());
    cluster.stop();
}

/// A new program names other addresses: what it does not name goes, with its file; what it names is bound.
///
/// Mutation: let what was bound before the first worker stay so for ever.
#[test]
fn p91_what_the_new_program_does_not_listen_on_is_closed() {
    let disk = Disk::of("p91");
    let (one, two) = (disk.path("one.sock"), disk.path("two.sock"));
    let unix = |path: &std::path::Path| format!("unix:{}", path.display());
    disk.order(&format!("listen {} 127.0.0.1:0", unix(&one)));
    let mut cluster = disk.plan("successor").workers(2).bind("127.0.0.1:0").start();
    let address = cluster.up(2);
    assert!(one.exists());
    disk.order(&format!("listen {} 127.0.0.1:0", unix(&two)));
    upgrade(&mut cluster, 2);
    cluster.eventually("the old file to go", || !one.exists());
    assert!(two.exists());
    assert!(ask(&address, "/").worker() > 2);
    cluster.stop();
    assert!(!two.exists());
}

/// A socket that a service manager has passed is there after upgrades, too, also while nobody serves on it.
///
/// Mutation: leave it CLOEXEC; look for LISTEN_FDS again in the new program.
#[test]
fn p110_activated_sockets_are_carried_over() {
    let disk = Disk::of("p110");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let mut cluster = disk
        .plan("successor")
        .workers(2)
        .given(listener)
        .after("exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web")
        .start();
    cluster.up(2);
    let primary = cluster.pid();
    let three = || process::descriptors(primary).into_iter().find(|(number, _)| *number == 3);
    let before = (three(), kinds(primary));
    for generation in 2..=4 {
        upgrade(&mut cluster, generation);
        cluster.eventually("the same descriptors as before", || (three(), kinds(primary)) == before);
        assert_eq!(inheritable(primary), []);
    }
    cluster.stop();
}

/// Mutation: note what is open again in the new program.
#[test]
fn what_the_program_was_started_with_stays_its_own() {
    let disk = Disk::of("given");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let inode = listener.local_addr().expect("an address");
    let mut cluster = disk.plan("successor").workers(2).given(listener).start();
    cluster.up(2);
    let three = |pid| process::descriptors(pid).into_iter().find(|(number, _)| *number == 3);
    let before = three(cluster.pid());
    assert!(before.is_some(), "{inode}");
    upgrade(&mut cluster, 2);
    upgrade(&mut cluster, 3);
    assert_eq!(three(cluster.pid()), before);
    assert_eq!(times_said(&cluster, "holding"), 0);
    cluster.stop();
}
