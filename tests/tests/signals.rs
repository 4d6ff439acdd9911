//! Handlers: what runs in the middle of anything.

use std::fs;
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
/// Mutation: wait in `pass_on`, `wake` or `ignore` for what the thread that it interrupts may have.
#[test]
fn s32_ten_thousand_signals_into_allocations_do_no_harm() {
    let mut cluster = Cluster::of("allocates").workers(1).start();
    cluster.until("the worker", |story| story.events().any(|event| event.name() == "online").then_some(()));
    let (primary, worker) = (cluster.pid(), cluster.fork(1).pid);
    let signals = [Signal::HUP, Signal::INT, Signal::USR1];
    cluster.eventually("the worker's handlers", || signals.iter().all(|signal| handles(worker, *signal)));
    cluster.check(handles(primary, Signal::WINCH), "a handler in a primary with threads");
    let mut end = Instant::now() + PATIENCE;
    for (n, signal) in (1..).zip(signals.into_iter().cycle()) {
        process::signal(primary, Signal::WINCH);
        process::signal(worker, signal);
        // Otherwise the kernel would make one of many.
        cluster.check(Instant::now() < end, "all of them to be taken");
        while (is_pending(worker, signal) || is_pending(primary, Signal::WINCH)) && Instant::now() < end {
            std::thread::yield_now();
        }
        if n % 1000 == 0 {
            // For each thousand: those who allocate leave little of a slow machine.
            end = Instant::now() + PATIENCE;
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

/// What each handler calls, from its source: a storm seldom hits the one moment at which more than this would be fatal.
///
/// Mutation: allocate, log or lock in one of them.
#[test]
fn s32_a_handler_calls_the_kernel_and_nothing_else() {
    // Calls of the kernel, and what the compiler makes of the rest of them: a load, an address, a constant.
    let kernels =
        ["__errno_location", "execute", "fcntl", "getpid", "poll", "pthread_sigmask", "sigtimedwait"];
    let kernels = [&kernels[..], &["syscall", "timer_settime", "write"]].concat();
    let harmless = ["Some", "as_ptr", "as_ref", "borrow_raw", "cast", "filter", "from", "get", "len", "load"];
    let harmless = [&harmless[..], &["null_mut", "take", "to_ne_bytes"]].concat();
    let sources = ["signal", "way_back"].map(|name| {
        let path = format!("{}/../cluster-runtime/src/sys/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        fs::read_to_string(path).expect("the handlers' source")
    });
    let handlers: Vec<_> = sources.iter().flat_map(|text| text.split("extern \"C\" fn ").skip(1)).collect();
    assert_eq!(handlers.len(), 5, "a handler that this test does not know");
    for handler in handlers {
        let (name, rest) = handler.split_once('(').expect("a function");
        let (_, body) = rest.split_once('{').expect("a body");
        let code = body.split("\n}").next().unwrap_or_default().lines().map(str::trim);
        let code: String = code.filter(|line| !line.starts_with("//") && !line.starts_with('#')).collect();
        assert!(!["!(", "![", "!{"].iter().any(|end| code.contains(end)), "{name} has a macro: {code}");
        let calls = code.match_indices('(').map(|(at, _)| &code[..at]).map(|before| {
            before.rsplit(|c: char| c != '_' && !c.is_alphanumeric()).next().unwrap_or_default()
        });
        let other: Vec<_> =
            calls.filter(|call| !kernels.contains(call) && !harmless.contains(call)).collect();
        assert!(other.is_empty(), "{name} calls {other:?}");
    }
}
