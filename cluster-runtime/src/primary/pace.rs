//! Whether a worker keeps up with what it is given on one lane. Pure.
//!
//! Nothing is kept of a connection. What is waited for is a number: all that had been handed off by one look is to be off the
//! lane at the next. So one that takes nothing is found, and one that takes too little.

use std::time::Duration;

/// What lies unread for so long, between two looks, is for somebody who keeps up. A thread that is free reads it within tenths
/// of a millisecond, and within three or four where many others compete for its processor: it is not taken for one that
/// is busy. And what one that is busy was given waits no longer than twice this.
const PATIENCE: Duration = Duration::from_millis(10);

/// How long until the next look, after one that came so late: where the primary had to wait for a processor, so did everybody, and
/// those who have more to do than it for longer. But one that was stopped for a minute, or held up by a callback, is not to be
/// blind for four: clients wait behind a busy worker meanwhile.
pub(crate) fn until_next_look(late: Duration) -> Duration {
    PATIENCE + late.min(LATEST) * 4
}

/// Nobody waits longer than this for a processor.
const LATEST: Duration = Duration::from_millis(100);

/// With more unread than this it is passed over at once. It is what the primary accepts in one go: whoever has not
/// woken up while that lasts does keep up. The kernel's queue has room for some four times as many.
const CREDIT: u64 = 64;

/// What was given to a lane and came back, and what of it is waited for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Pace {
    handed: u64,
    taken_back: u64,
    received: u64,
    unread: u64,
    /// So many were handed off by the last look, and not all of them were off the lane.
    due: Option<u64>,
    late: bool,
    /// So many are neither on the lane nor counted: its worker lost them, or does not count.
    missing: u64,
    /// It was late, and has not caught up since by itself: that there is nothing on its lane may be because it was taken back.
    on_trial: bool,
}

impl Pace {
    /// As an image of the primary left it for this one.
    pub(crate) fn of(handed: u64, taken_back: u64) -> Pace {
        Pace { handed, taken_back, ..Pace::default() }
    }

    /// How many were handed off, ever.
    pub(crate) fn handed(&self) -> u64 {
        self.handed
    }

    /// How many of them were read back.
    pub(crate) fn taken_back(&self) -> u64 {
        self.taken_back
    }

    /// How many are on the lane, as far as is known.
    pub(crate) fn unread(&self) -> u64 {
        self.unread
    }

    pub(crate) fn hand_off(&mut self) {
        self.handed += 1;
        self.unread += 1;
    }

    pub(crate) fn take_back(&mut self) {
        self.taken_back += 1;
        self.unread = self.unread.saturating_sub(1);
    }

    /// The worker says that it has received so many; of one who can't tell, it is believed that it has all.
    ///
    /// What it says is not trusted: by saying what is not so, it is given more than it can read, or less.
    pub(crate) fn note(&mut self, received: Option<u64>) {
        let received = received.unwrap_or(self.handed);
        // One that was only slow to count has now counted it.
        self.missing = self.missing.min(self.handed.saturating_sub(received.saturating_add(self.taken_back)));
        let reads = std::mem::replace(&mut self.received, received) != received;
        self.unread = self.handed.saturating_sub(self.off());
        if reads && self.due.is_none_or(|due| self.off() >= due) {
            (self.due, self.late, self.on_trial) = (None, false, false);
        }
    }

    /// The same, a patience after the last look, or more: a primary that was itself kept from its processor finds
    /// everybody late, and has to look twice.
    pub(crate) fn look(&mut self, received: Option<u64>) {
        self.note(received);
        self.late = self.due.is_some_and(|due| self.off() < due);
        self.on_trial |= self.late;
        if !self.late {
            self.due = (self.unread > 0).then_some(self.handed);
        }
    }

    /// Nobody looks any more: what is on the lane is waited for by another rule, and when it gets something again it is with
    /// nothing to be late with.
    pub(crate) fn rest(&mut self) {
        (self.due, self.late) = (None, false);
    }

    /// The lane was found empty at the look before, and nothing was sent since: what its worker has not counted by now was received
    /// without a descriptor to spare, say, and is no reason to wait for more of it.
    pub(crate) fn is_empty(&mut self) {
        self.missing = self.handed.saturating_sub(self.received.saturating_add(self.taken_back));
        self.unread = 0;
        self.rest();
    }

    /// How many are off the lane.
    fn off(&self) -> u64 {
        self.received.saturating_add(self.taken_back).saturating_add(self.missing)
    }

    /// What is on the lane is for others, if others keep up.
    pub(crate) fn is_late(&self) -> bool {
        self.late
    }

    /// Others first. One that was late is tried with one at a time until it reads again: a client that waits for it waits for
    /// nothing, and nobody else does.
    pub(crate) fn is_behind(&self) -> bool {
        self.late || self.unread > if self.on_trial { 0 } else { CREDIT }
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
