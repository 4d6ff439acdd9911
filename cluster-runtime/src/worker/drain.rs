//! The worker's end, from the moment it is told to finish.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// What is known of the end.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    deadline: Option<Instant>,
    /// Lanes on which something may still come.
    lanes: usize,
    /// Connections that were accepted, and from which nothing was read yet.
    fresh: usize,
    /// There is, or was, something here that will end by itself: a server, or somebody who has asked for the signal.
    concerned: bool,
}

/// Whether this worker drains, and what it still has.
#[derive(Debug)]
pub(crate) struct Drain {
    state: watch::Sender<State>,
    /// Connections that are open here.
    open: AtomicUsize,
    /// Told when something here has ended that was to be finished.
    less: (Mutex<()>, Condvar),
    watched: AtomicBool,
    /// Something here takes connections, or datagrams, and knows nothing of ends.
    serves: AtomicBool,
    /// It has not begun, and will.
    foretold: AtomicBool,
}

/// How long a connection without a request may still begin one. Longer than a round trip between client and
/// server mostly is, shorter than a person or a supervisor notices. Not waited for when all have begun, or are closed.
pub(crate) const LAST_CALL: Duration = Duration::from_millis(250);

/// Its time is over so much later than it should be where this process stood still. What came meanwhile is in its sockets, and
/// nobody could look: so there is another, and so many at most.
const LATE: Duration = Duration::from_millis(20);
const LAST_CALLS: usize = 4;

/// Between the end of the last connection and that of the process: what its task does after it.
const LAST_TOUCHES: Duration = Duration::from_millis(100);

impl Drain {
    pub(crate) fn new() -> Drain {
        Drain {
            state: watch::Sender::new(State::default()),
            open: AtomicUsize::new(0),
            less: (Mutex::new(()), Condvar::new()),
            watched: AtomicBool::new(false),
            serves: AtomicBool::new(false),
            foretold: AtomicBool::new(false),
        }
    }

    /// Begins it, or shortens it.
    pub(crate) fn begin(&self, within: Duration) {
        let deadline = Instant::now() + within;
        self.state.send_modify(|state| {
            state.deadline = Some(state.deadline.map_or(deadline, |before| before.min(deadline)));
        });
    }

    /// Says that it will begin soon; nothing else changes.
    pub(crate) fn foretell(&self) {
        self.foretold.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_foretold(&self) -> bool {
        self.foretold.load(Ordering::SeqCst)
    }

    /// When it has to be over; `None` while this worker serves.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.state.borrow().deadline
    }

    /// When its time is over.
    #[cfg(feature = "actix")]
    pub(crate) async fn over(&self) {
        let mut state = self.state.subscribe();
        loop {
            let deadline = state.borrow_and_update().deadline;
            // The sender lives as long as the process.
            match deadline {
                Some(deadline) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(deadline) => return,
                        _ = state.changed() => {}
                    }
                }
                None => drop(state.changed().await),
            }
        }
    }

    /// When it begins.
    pub(crate) async fn begun(&self) {
        self.until(|state| state.deadline.is_some()).await;
    }

    /// When it has begun and nothing more can come, and after the last call: to stop any earlier would lose what was
    /// handed over.
    pub(crate) async fn empty(&self) {
        // For good: whoever asks in a loop is not asking all the time.
        self.concern();
        self.until(|state| state.deadline.is_some() && state.lanes == 0).await;
        self.last_call().await;
    }

    /// Waits for a moment until something was read from every connection. A server that is told to finish closes those
    /// from which it has read nothing, hyper for one, even if the request is already in the socket: so those that were
    /// accepted last would see a reset.
    pub(crate) async fn last_call(&self) {
        for _ in 0..LAST_CALLS {
            if self.state.borrow().fresh == 0 {
                return;
            }
            let begun = Instant::now();
            let read = timeout(LAST_CALL, self.until(|state| state.fresh == 0)).await;
            if read.is_ok() || begun.elapsed() < LAST_CALL + LATE {
                return;
            }
        }
    }

    /// Counts a connection until something is read from it. Who waits needs no word of it: nothing comes any more
    /// while somebody waits.
    pub(crate) fn came(&self) {
        self.state.send_if_modified(|state| {
            state.fresh += 1;
            false
        });
    }

    pub(crate) fn first_read(&self) {
        self.state.send_if_modified(|state| {
            state.fresh = state.fresh.saturating_sub(1);
            state.fresh == 0 && state.deadline.is_some()
        });
    }

    /// From now on there is something here that will end by itself.
    pub(crate) fn concern(&self) {
        self.state.send_if_modified(|state| {
            state.concerned = true;
            false
        });
    }

    /// Counts a lane while it may still bring something.
    pub(crate) fn opened(&self) {
        self.state.send_modify(|state| state.lanes += 1);
    }

    pub(crate) fn ended(&self) {
        self.state.send_modify(|state| state.lanes = state.lanes.saturating_sub(1));
        self.one_less();
    }

    /// From now on there is something here that ends with its last connection. Not from its first lane on: that is opened
    /// while others run, and who leaves meanwhile is no other than who leaves a moment later.
    pub(crate) fn serve(&self) {
        self.serves.store(true, Ordering::SeqCst);
    }

    pub(crate) fn serves(&self) -> bool {
        self.serves.load(Ordering::SeqCst)
    }

    pub(crate) fn connection_opened(&self) {
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn connection_ended(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.one_less();
    }

    /// Whether there is nothing here to be finished: no connection and no lane that may bring one; and nobody who
    /// will end by himself, a server, or somebody who has asked for the end.
    pub(crate) fn is_moot(&self) -> bool {
        let state = *self.state.borrow();
        !state.concerned && state.lanes == 0 && self.open.load(Ordering::SeqCst) == 0
    }

    /// Whether somebody has to wait for that: yields true once.
    pub(crate) fn is_to_be_watched(&self) -> bool {
        !self.state.borrow().concerned && !self.watched.swap(true, Ordering::SeqCst)
    }

    /// Blocks this thread until there has been nothing to be finished for a moment.
    pub(crate) fn wait_until_moot(&self) {
        let (mutex, less) = &self.less;
        let mut guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            guard = less.wait_while(guard, |()| !self.is_moot()).unwrap_or_else(PoisonError::into_inner);
            let waited = less.wait_timeout_while(guard, LAST_TOUCHES, |()| self.is_moot());
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return;
            }
            guard = again;
        }
    }

    fn one_less(&self) {
        if self.watched.load(Ordering::SeqCst) {
            // Under the lock, that whoever is about to wait does not miss it.
            drop(self.less.0.lock().unwrap_or_else(PoisonError::into_inner));
            self.less.1.notify_all();
        }
    }

    async fn until(&self, wanted: impl FnMut(&State) -> bool) {
        // The sender lives as long as the process.
        let _ = self.state.subscribe().wait_for(wanted).await;
    }
}
