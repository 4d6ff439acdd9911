//! Threads that do nothing but allocate, in the primary and in its worker, which says how often they have at every thousandth
//! SIGWINCH that the primary hears of.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use cluster::{Cluster, Primary, Role, Signal};
use cluster_tests::announce;

static DONE: AtomicUsize = AtomicUsize::new(0);

fn allocate() {
    for n in (1..4096).cycle() {
        drop(black_box(vec![1u8; n]));
        DONE.fetch_add(1, Relaxed);
    }
}

fn setup(primary: &mut Primary) {
    announce::life(primary);
    let mut heard = 0;
    primary.on_signal(Signal::WINCH, move || {
        heard += 1;
        if heard % 1000 == 0 {
            drop(cluster::broadcast(()));
        }
    });
}

fn main() {
    // Before the start: so it has handlers, and starts its worker by exec.
    (0..2).for_each(|_| drop(thread::spawn(allocate)));
    match Cluster::new().primary(setup).start() {
        Role::Primary(end) => end.exit(),
        Role::Worker(worker) => {
            worker.ready();
            while worker.messages::<()>().blocking_recv().is_some() {
                println!("{} allocations", DONE.load(Relaxed));
            }
        }
    }
}
