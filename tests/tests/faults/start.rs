//! The kernel can't do what the primary needs: it says so, and what.

use std::time::{Duration, Instant};

use cluster_tests::client::{Outcome, ask, attempt};
use cluster_tests::faults::{Fault, Trace};
use cluster_tests::{Cluster, Signal, can_inject, is_root};

/// Mutation: go on without; try again for ever.
#[test]
fn a_kernel_without_what_is_needed_is_told_of_at_the_start() {
    if !can_inject() {
        return;
    }
    for (call, told) in [
        ("signalfd4", "Function not implemented"),
        ("epoll_create1", "Function not implemented"),
        ("pidfd_open", "starting worker 1: Function not implemented"),
    ] {
        let trace = Trace::default();
        let mut cluster =
            Cluster::of("serve").workers(2).inject(&format!("{call}:error=ENOSYS"), &trace.path()).start();
        cluster.expect_log(told);
        if call == "pidfd_open" {
            cluster.expect_log("could not be started");
        }
        let began = Instant::now();
        let story = cluster.ends(1);
        assert!(began.elapsed() < Duration::from_secs(10), "{call}: {story}");
        assert_eq!(story.forks().count(), 0, "{call}: nobody is born: {story}");
    }
}

/// Mutation: tell another error; leave the socket's file behind.
#[test]
fn what_can_not_be_bound_is_told_as_the_kernel_tells_it_and_leaves_nothing() {
    if !can_inject() {
        return;
    }
    let path = std::env::temp_dir().join(format!("cluster-fault-{}.sock", std::process::id()));
    let unix = format!("unix:{}", path.display());
    for (fault, address, told) in [
        ("bind:error=EACCES", "127.0.0.1:0", "Permission denied"),
        ("bind:error=EADDRINUSE", "127.0.0.1:0", "in use"),
        ("listen:error=EADDRINUSE", "127.0.0.1:0", "in use"),
        ("bind:error=EROFS", unix.as_str(), "Read-only file system"),
        ("listen:error=EADDRINUSE", unix.as_str(), "in use"),
    ] {
        let trace = Trace::default();
        let mut cluster = Cluster::of("serve").workers(2).bind(address).inject(fault, &trace.path()).start();
        cluster.expect_log("Error: ");
        cluster.expect_log(told);
        cluster.expect_log("before it was ready");
        let story = cluster.ends(1);
        assert!(story.addresses().is_empty(), "{fault}: {story}");
        assert!(!path.exists(), "{fault}: its file is left");
    }
}

/// Mutation: take a file that can't be removed for an end that failed.
#[test]
fn a_socket_file_that_can_not_be_removed_is_told_of_with_its_path() {
    if !can_inject() {
        return;
    }
    let path = std::env::temp_dir().join(format!("cluster-unlink-{}.sock", std::process::id()));
    let mut cluster = Cluster::of("serve").workers(2).bind(&format!("unix:{}", path.display())).start();
    cluster.up(2);
    cluster.leaves(&path);
    cluster.expect_log(&format!("removing the socket file {}", path.display()));
    let fault = Fault::attach(cluster.pid(), "rename,renameat,renameat2,unlink,unlinkat:error=EROFS");
    cluster.signal(Signal::TERM);
    cluster.ends(0);
    drop(fault);
    std::fs::remove_file(&path).expect("it is there");
}

/// Mutation: panic, or end, where a line can't be printed.
#[test]
fn s42_a_primary_that_can_print_nothing_serves_on_and_replaces() {
    if !can_inject() {
        return;
    }
    for error in ["ENOSPC", "EPIPE", "EIO"] {
        let mut cluster = Cluster::start("serve", 2);
        let address = cluster.up(2);
        let dead = cluster.fork(1).pid;
        let fault = Fault::attach(cluster.pid(), &format!("write:error={error}"));
        cluster.signal_worker(1, Signal::KILL);
        cluster.eventually("a replacement", || {
            let answers: Vec<_> = (0..4).map(|_| attempt(&address, "/")).collect();
            answers.iter().any(|end| matches!(end, Outcome::Answered(reply) if reply.worker() == 3))
        });
        assert!(fault.injected() > 0, "{error}: it has printed");
        drop(fault);
        assert!(!cluster_tests::process::carries(dead, cluster.mark()));
        assert_eq!(ask(&address, "/").status, 200, "{error}");
        cluster.stop();
    }
}

/// Mutation: go on as who one is where the user can't be changed.
#[test]
fn s17_a_worker_that_can_not_become_its_user_never_runs_its_body() {
    if !can_inject() || !is_root() {
        return;
    }
    for fault in ["setgroups:error=EPERM", "setresgid,setgid:error=EPERM", "setresuid,setuid:error=EAGAIN"] {
        let trace = Trace::default();
        let mut cluster = Cluster::of("serve")
            .workers(1)
            .env("CLUSTER_USER", "nobody")
            .inject_everywhere(fault, &trace.path())
            .start();
        cluster.expect_log("nobody");
        cluster.expect_log("before it was ready");
        let story = cluster.ends(1);
        assert!(trace.injected() > 0, "{fault}: nothing was injected: {story}");
        assert!(story.addresses().is_empty(), "{fault}: {story}");
    }
}
