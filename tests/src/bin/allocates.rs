//! Those who do nothing but allocate: threads of the primary, and the worker's main thread, which the kernel prefers for a signal.
//! It says how often it has at every thousandth SIGWINCH that the primary hears of.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{process, thread};

use cluster::{Cluster, Primary, Role, Signal};
use cluster_tests::announce;

static DONE: AtomicUsize = AtomicUsize::new(0);

fn allocate() {
    // Of all sizes: the smallest come from a store of the thread's own.
    for n in (1..32 * 1024).step_by(7).cycle() {
        drop(black_box(Vec::<u8>::with_capacity(n)));
        if DONE.fetch_add(1, Relaxed).is_multiple_of(50) {
            // Others are to have a processor, too.
            thread::yield_now();
        }
    }
}

fn answer() {
    let mut messages = cluster::worker().messages::<()>();
    let told = || messages.blocking_recv();
    for _ in std::iter::from_fn(told).skip(999).step_by(1000) {
        println!("{} allocations", DONE.load(Relaxed));
    }
    process::exit(0);
}

fn setup(primary: &mut Primary) {
    announce::life(primary);
    primary.on_signal(Signal::WINCH, || drop(cluster::broadcast(())));
}

fn main() {
    if cluster::is_primary() {
        // Before the start: so it has handlers, and starts its worker by exec.
        thread::spawn(allocate);
    }
    match Cluster::new().primary(setup).start() {
        Role::Primary(end) => end.exit(),
        Role::Worker(worker) => {
            worker.ready();
            thread::spawn(answer);
            allocate();
        }
    }
}
