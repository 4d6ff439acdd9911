//! What SIGUSR1 prints.

use cluster_tests::{Cluster, Event, Signal, process};

/// The lines of the last block.
fn block(cluster: &mut Cluster, last: &str) -> Vec<String> {
    cluster.expect_log("  ");
    cluster.signal(Signal::USR1);
    cluster.logged(last);
    let log: Vec<_> = cluster.story().log().map(str::to_owned).collect();
    let begin = log.iter().rposition(|line| line.contains(", primary ")).expect("a block");
    log[begin..]
        .iter()
        .enumerate()
        .take_while(|(n, line)| *n == 0 || line.starts_with("  "))
        .map(|(_, line)| line.clone())
        .collect()
}

/// Mutation: leave SIGUSR1 to the kernel, in the primary, in a worker or in the nursery; note no address, no death, no reload.
#[test]
fn sigusr1_prints_what_goes_on() {
    let mut cluster = Cluster::of("status").workers(2).env("CLUSTER_STARTUP_TIMEOUT", "6s").start();
    let address = cluster.up(2);
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    cluster.exit(1);
    cluster.up(2);
    let (primary, pids) = (cluster.pid(), [cluster.fork(3).pid, cluster.fork(2).pid]);
    let lines = block(&mut cluster, "slot 1: ");
    cluster.check(lines[0].contains(&format!("primary {primary}, up ")), "the primary");
    cluster.check(lines[0].ends_with("generation 1"), "the generation");
    cluster.check(lines[1].starts_with("  settings: 2 workers, 1 threads each, spawn "), "the settings");
    cluster.check(lines[2] == format!("  listening on {address}"), "the address");
    cluster.check(lines[3] == "  connections: 0 open of 0, requests: 0", "what all have done");
    for (slot, (id, restarts)) in [(3, 1), (2, 0)].into_iter().enumerate() {
        let pid = pids[slot];
        let begin = format!("  slot {slot}: worker {id}, pid {pid}, generation 1, listening, ");
        let line = &lines[4 + slot];
        let so = line.starts_with(&begin) && line.contains(&format!(" old, {restarts} restarts, last beat "));
        cluster.check(so && line.ends_with(" ago, 0 open of 0, 0 served"), &begin);
    }
    // The callback has been called, too.
    let [new, old] = pids;
    cluster.until("the callback", |story| {
        let said =
            |line: &str| line.starts_with(&format!("status 1 {new} {old} ")) && line.contains(&address);
        story.events().any(|event| matches!(event, Event::Said(line) if said(line))).then_some(())
    });

    cluster.expect_log("reload: ");
    cluster.expect_log("since its time was over");
    cluster.signal(Signal::HUP);
    cluster.fork(4);
    let lines = block(&mut cluster, "reload: generation 2 comes: 0 slots done, 1 coming, 1 left");
    cluster.check(lines.len() == 8, "one worker more");
    cluster.logged("serve on");
    block(&mut cluster, "last reload: ");
    // As `pkill` would send it: no worker is ended by it.
    for pid in pids {
        process::signal(pid, Signal::USR1);
    }
    cluster.up(2);
    let story = cluster.stop();
    assert_eq!(story.exits().filter(|exit| exit.signal.is_some()).count(), 2, "{story}");
}
