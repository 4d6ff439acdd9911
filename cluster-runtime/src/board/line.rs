//! One line: who writes it, who reads it, and in which order. It is all that is concurrent about the board.
//!
//! A connection is received by one thread and may end in another; a request is answered in either. So these are counted by one
//! instruction each, whoever does it; the line is in that processor's cache, where nobody else writes to it.

use super::atomic::{AtomicU64, Ordering};

const RECEIVED: usize = 0;
const ENDED: usize = 1;
const SERVED: usize = 2;
const BEAT: usize = 3;
const BY_ITSELF: usize = 4;

/// Counters of one serving thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a>(&'a [AtomicU64; 8]);

/// What a line said when it was read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Seen {
    /// Connections that were ever received.
    pub(crate) received: u64,
    /// Those of them that have not ended.
    pub(crate) open: u64,
    /// Requests, or what counts as one, that were ever answered.
    pub(crate) served: u64,
}

impl Seen {
    pub(crate) fn plus(self, other: Seen) -> Seen {
        Seen {
            received: self.received.saturating_add(other.received),
            open: self.open.saturating_add(other.open),
            served: self.served.saturating_add(other.served),
        }
    }
}

impl<'a> Line<'a> {
    pub(crate) fn over(words: &'a [AtomicU64; 8]) -> Line<'a> {
        Line(words)
    }

    /// One connection more.
    pub(crate) fn received(self) {
        self.0[RECEIVED].fetch_add(1, Ordering::Relaxed);
    }

    /// One that the worker has accepted by itself, and receives next: it never was on the lane.
    pub(crate) fn accepted(self) {
        self.0[BY_ITSELF].fetch_add(1, Ordering::Relaxed);
    }

    /// How many of those that were received came over the lane; for a moment, while one is counted, one too few.
    pub(crate) fn off_the_lane(self) -> u64 {
        let received = self.0[RECEIVED].load(Ordering::Relaxed);
        received.saturating_sub(self.0[BY_ITSELF].load(Ordering::Relaxed))
    }

    /// One of them has ended.
    pub(crate) fn ended(self) {
        // Whoever sees this sees, too, that it was received.
        self.0[ENDED].fetch_add(1, Ordering::Release);
    }

    pub(crate) fn served(self) {
        self.0[SERVED].fetch_add(1, Ordering::Relaxed);
    }

    /// A sign of life, by one thread alone. Yields when the last one was; 0 if it is the first.
    pub(crate) fn beat(self, now: u64) -> u64 {
        let before = self.last_beat();
        self.0[BEAT].store(now, Ordering::Relaxed);
        before
    }

    pub(crate) fn last_beat(self) -> u64 {
        self.0[BEAT].load(Ordering::Relaxed)
    }

    pub(crate) fn read(self) -> Seen {
        let (received, ended, served) = self.counts();
        Seen { received, open: received.saturating_sub(ended), served }
    }

    /// What was received, has ended and was served. The ends first: so there are never more of them than of what was received,
    /// unless somebody lies.
    pub(super) fn counts(self) -> (u64, u64, u64) {
        let ended = self.0[ENDED].load(Ordering::Acquire);
        let received = self.0[RECEIVED].load(Ordering::Relaxed);
        (received, ended, self.0[SERVED].load(Ordering::Relaxed))
    }
}
