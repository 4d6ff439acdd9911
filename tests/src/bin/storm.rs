//! From each callback, and at each message of each worker, everybody is asked for something: to leave, to die, to
//! listen; and others are forked. After so many wishes the cluster is to stop.

use cluster::{Primary, Signal, Worker};
use cluster_tests::announce;

fn storm(_: Worker) {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    static WISHES: AtomicUsize = AtomicUsize::new(0);
    for worker in cluster::workers() {
        match WISHES.fetch_add(1, Relaxed) {
            3000.. => cluster::disconnect(),
            wish if wish % 31 == 7 => worker.disconnect(),
            wish if wish % 31 == 11 => worker.kill(Signal::TERM),
            wish if wish % 31 == 13 => worker.kill(Signal::KILL),
            wish if wish % 7 == 3 && cluster::workers().len() < 16 => drop(cluster::fork()),
            wish => drop(worker.send(wish)),
        }
    }
}

fn setup(primary: &mut Primary) {
    announce::events(primary);
    primary.on_message(|worker: Worker, _: usize| {
        storm(worker.clone());
        worker.on_disconnect(storm);
        worker.on_exit(|worker, _| storm(worker));
    });
    primary.on_disconnect(storm);
    primary.on_exit(|worker, _| storm(worker));
}

#[cluster::main(workers = 4, max_restarts = 1000, primary = setup)]
async fn main() {
    let worker = cluster::worker();
    worker.ready();
    (0..8usize).for_each(|n| drop(worker.send(n)));
    let mut messages = worker.messages::<usize>();
    while messages.recv().await.is_some_and(|wish| wish % 5 != 0) {}
    worker.disconnect();
}
