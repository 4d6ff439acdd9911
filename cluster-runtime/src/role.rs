//! Which process of the cluster this is.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::ipc::birth;
use crate::primary::adopt;

/// What this process is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Process {
    /// No cluster has been started in it.
    Plain,
    Primary,
    Nursery,
    Worker,
}

static PROCESS: AtomicU8 = AtomicU8::new(Process::Plain as u8);

/// Said once at each birth, before another thread exists; and when a cluster begins or ends.
pub(crate) fn turn_into(process: Process) {
    PROCESS.store(process as u8, Ordering::Relaxed);
}

pub(crate) fn get() -> Process {
    match PROCESS.load(Ordering::Relaxed) {
        1 => Process::Primary,
        2 => Process::Nursery,
        3 => Process::Worker,
        _ => Process::Plain,
    }
}

/// Whether this is the process that was started: true also in a program that has no cluster, and before
/// [`start`](crate::Cluster::start); false in `preload`. Node: `cluster.isPrimary`.
pub fn is_primary() -> bool {
    match get() {
        Process::Plain => !is_born(),
        role => role == Process::Primary,
    }
}

/// Whether this process is a worker; true also where the body runs unclustered. Node: `cluster.isWorker`.
pub fn is_worker() -> bool {
    match get() {
        // A worker by exec, which runs `main` from its beginning.
        Process::Plain => is_born(),
        role => role == Process::Worker,
    }
}

/// As [`start`](crate::Cluster::start) will find it: in another image of a primary nothing of what its workers sent is looked at.
fn is_born() -> bool {
    !adopt::is_due() && birth::is_due()
}
