//! Handlers: what runs in the middle of anything.

use std::time::{Duration, Instant};

use cluster_tests::process::{handles, is_pending};
use cluster_tests::{Cluster, Event, PATIENCE, Signal, process};

/// What the worker has said, in order.
fn counts(cluster: &Cluster) -> Vec<usize> {
    let said = cluster.story().events().filter_map(|event| match event {
        Event::Said(line) => line.strip_suffix(" allocations")?.parse().ok(),
        _ => None,
    });
    said.collect()
}

/// Each comes while threads of both processes are inside of the allocator, most of them with its lock.
///
/// Mutation: allocate, or log, in `pass_on`, `wake` or `ignore`.
#[test]
fn s32_ten_thousand_signals_into_allocations_do_no_harm() {
    let mut cluster = Cluster::of("allocates").workers(1).start();
    cluster.until("the worker", |story| story.events().any(|event| event.name() == "online").then_some(()));
    let (primary, worker) = (cluster.pid(), cluster.fork(1).pid);
    let signals = [Signal::HUP, Signal::INT, Signal::USR1];
    cluster.eventually("the worker's handlers", || signals.iter().all(|signal| handles(worker, *signal)));
    cluster.check(handles(primary, Signal::WINCH), "a handler in a primary with threads");
    let end = Instant::now() + PATIENCE;
    for (n, signal) in (1..).zip(signals.into_iter().cycle()) {
        process::signal(primary, Signal::WINCH);
        process::signal(worker, signal);
        // Otherwise the kernel would make one of many.
        cluster.check(Instant::now() < end, "all of them to be taken");
        while (is_pending(worker, signal) || is_pending(primary, Signal::WINCH)) && Instant::now() < end {
            std::thread::yield_now();
        }
        if n % 1000 == 0 {
            cluster.listen_for(Duration::from_millis(1));
            if n >= 10_000 && counts(&cluster).len() >= 10 {
                break;
            }
        }
    }
    let counts = counts(&cluster);
    cluster.check(counts.is_sorted_by(|one, next| one < next), "them to go on all the time");
    cluster.stop();
}
