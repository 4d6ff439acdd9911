//! The worker's end, from the moment it is told to finish.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// What is known of the end.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    deadline: Option<Instant>,
    /// Lanes on which something may still come.
    lanes: usize,
    has_served: bool,
}

/// Whether this worker drains, and what it still has.
#[derive(Debug)]
pub(crate) struct Drain {
    state: watch::Sender<State>,
}

impl Drain {
    pub(crate) fn new() -> Drain {
        Drain { state: watch::Sender::new(State::default()) }
    }

    /// Begins it, or shortens it.
    pub(crate) fn begin(&self, within: Duration) {
        let deadline = Instant::now() + within;
        self.state.send_modify(|state| {
            state.deadline = Some(state.deadline.map_or(deadline, |before| before.min(deadline)));
        });
    }

    /// When it has to be over; `None` while this worker serves.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.state.borrow().deadline
    }

    /// When it begins.
    pub(crate) async fn begun(&self) {
        self.until(|state| state.deadline.is_some()).await;
    }

    /// When it has begun and nothing more can come: to stop any earlier would lose what was handed over.
    pub(crate) async fn empty(&self) {
        self.until(|state| state.deadline.is_some() && state.lanes == 0).await;
    }

    /// Counts a lane while it may still bring something.
    pub(crate) fn opened(&self) {
        self.state.send_modify(|state| {
            state.lanes += 1;
            state.has_served = true;
        });
    }

    pub(crate) fn ended(&self) {
        self.state.send_modify(|state| state.lanes = state.lanes.saturating_sub(1));
    }

    /// Whether there is nothing here to be finished: no server, and nobody who waits for the end.
    pub(crate) fn is_moot(&self) -> bool {
        !self.state.borrow().has_served && self.state.receiver_count() == 0
    }

    async fn until(&self, wanted: impl FnMut(&State) -> bool) {
        // The sender lives as long as the process.
        let _ = self.state.subscribe().wait_for(wanted).await;
    }
}
