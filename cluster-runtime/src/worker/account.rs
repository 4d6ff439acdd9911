//! Open connections, counted. What a connection took is given back when it ends, on whatever path.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::board::Line;

/// The room of one server for open connections, over all its lanes.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    room: Arc<Semaphore>,
    /// Told at each end of a connection, to who waits for a descriptor to be free again.
    ended: Arc<Notify>,
}

/// The right to hold one connection open.
#[derive(Debug)]
pub(crate) struct Permit {
    _room: Option<OwnedSemaphorePermit>,
    ended: Arc<Notify>,
}

impl Account {
    pub(crate) fn new(limit: usize) -> Account {
        let room = Semaphore::new(limit.min(Semaphore::MAX_PERMITS));
        Account { room: Arc::new(room), ended: Arc::new(Notify::new()) }
    }

    pub(crate) fn try_take(&self) -> Option<Permit> {
        Some(self.permit(Some(Arc::clone(&self.room).try_acquire_owned().ok()?)))
    }

    pub(crate) async fn take(&self) -> Permit {
        // The semaphore is never closed.
        self.permit(Arc::clone(&self.room).acquire_owned().await.ok())
    }

    /// Room beyond the limit: a worker that drains takes what is on its lane already.
    pub(crate) fn overdraw(&self) -> Permit {
        self.permit(None)
    }

    /// When the next connection has ended.
    pub(crate) async fn one_ended(&self) {
        self.ended.notified().await;
    }

    fn permit(&self, room: Option<OwnedSemaphorePermit>) -> Permit {
        Permit { _room: room, ended: Arc::clone(&self.ended) }
    }
}

impl Permit {
    /// For a connection that has come: its end will be a proof that this worker can serve.
    /// It is counted on `line`, wherever it ends.
    pub(crate) fn spent(self, line: Line<'static>) -> Spent {
        super::connection_opened();
        line.received();
        Spent { permit: self, line, counts: false }
    }
}

/// A permit in use; held until the connection is closed.
#[derive(Debug)]
pub(crate) struct Spent {
    permit: Permit,
    line: Line<'static>,
    /// Its end is that of a request.
    counts: bool,
}

impl Spent {
    /// What is done on it is the user's own, and it counts as one request itself.
    pub(crate) fn counted(mut self) -> Spent {
        self.counts = true;
        self
    }
}

static PROVEN: AtomicBool = AtomicBool::new(false);

impl Drop for Spent {
    fn drop(&mut self) {
        self.permit.ended.notify_waiters();
        if !PROVEN.swap(true, Ordering::Relaxed) {
            super::proven();
        }
        if self.counts {
            self.line.served();
            super::served();
        }
        self.line.ended();
        super::connection_ended();
    }
}
