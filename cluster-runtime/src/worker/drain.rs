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
    /// There is, or was, something here that will end by itself: a server, or somebody who has asked for the signal.
    concerned: bool,
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

    /// When its time is over.
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

    /// When it has begun and nothing more can come: to stop any earlier would lose what was handed over.
    pub(crate) async fn empty(&self) {
        // For good: whoever asks in a loop is not asking all the time.
        self.concern();
        self.until(|state| state.deadline.is_some() && state.lanes == 0).await;
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
    }

    /// Whether there is nothing here to be finished: no server, and nobody who ever asked for the end.
    pub(crate) fn is_moot(&self) -> bool {
        !self.state.borrow().concerned
    }

    async fn until(&self, wanted: impl FnMut(&State) -> bool) {
        // The sender lives as long as the process.
        let _ = self.state.subscribe().wait_for(wanted).await;
    }
}
