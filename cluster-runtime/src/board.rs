//! The board: a row of counters for each worker, which it alone writes, and which the primary reads without a message.
//!
//! A row is a page of memory. It has a line for each serving thread, that no two of them write to the same one, and one for the
//! worker as a whole. Nothing that stands there is trusted: each word is read once, and may be anything. What a worker writes is
//! about itself, and outlives it.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

pub(crate) use self::line::{Line, Seen};
use crate::sys::shared::{self, Page, Reader};

#[path = "board/line.rs"]
mod line;

/// What [`line`] is written in; of its model it is something else.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

/// How many lines there are for serving threads: 1 to this.
pub(crate) const MOST_LINES: u8 = 63;

/// What a row is called in `/proc/PID/fd`.
const NAME: &str = "cluster-board";

/// A new row: what the worker gets, and what the primary has.
pub(crate) fn make() -> io::Result<(OwnedFd, OwnedFd)> {
    shared::make(NAME)
}

/// A worker's own row, in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Board(&'static Page);

/// Where nobody reads: without a primary, or under one that gives no row.
static UNREAD: Page = [const { [const { atomic::AtomicU64::new(0) }; 8] }; 64];

impl Board {
    pub(crate) fn of(memory: OwnedFd) -> io::Result<Board> {
        shared::write(memory).map(Board)
    }

    pub(crate) fn unread() -> Board {
        Board(&UNREAD)
    }

    /// Whether the primary sees it.
    pub(crate) fn is_read(self) -> bool {
        !std::ptr::eq(self.0, &raw const UNREAD)
    }

    /// Of a serving thread; of the worker as a whole where that has none.
    pub(crate) fn line(self, number: Option<u8>) -> Line<'static> {
        let number = usize::from(number.unwrap_or(0));
        Line::over(self.0.get(number).unwrap_or(&self.0[0]))
    }

    /// All lines together.
    pub(crate) fn sum(self) -> Seen {
        sum(self.0)
    }
}

fn sum(page: &Page) -> Seen {
    page.iter().map(|words| Line::over(words).read()).fold(Seen::default(), Seen::plus)
}

/// A worker's row, in the primary.
#[derive(Clone, Debug)]
pub(crate) struct Row(Rc<Reader>);

impl Row {
    pub(crate) fn of(memory: &OwnedFd) -> io::Result<Row> {
        Ok(Row(Rc::new(Reader::of(memory)?)))
    }

    /// What there is of one line, to be looked at again and again.
    pub(crate) fn view(&self, number: u8) -> View {
        View { row: self.clone(), number: usize::from(number) }
    }

    /// All lines together, each as it is when its turn comes.
    pub(crate) fn sum(&self) -> Seen {
        sum(self.0.page())
    }
}

/// One line of a row, in the primary.
#[derive(Debug)]
pub(crate) struct View {
    row: Row,
    number: usize,
}

impl View {
    pub(crate) fn seen(&self) -> Option<Seen> {
        self.line().map(|line| line.read())
    }

    /// How many have come over its lane, of those that it has received.
    pub(crate) fn off_the_lane(&self) -> Option<u64> {
        self.line().map(|line| line.off_the_lane())
    }

    /// When it has last given a sign of life, by [`now`]; 0 before the first.
    pub(crate) fn beat(&self) -> u64 {
        self.line().map_or(0, |line| line.last_beat())
    }

    fn line(&self) -> Option<Line<'_>> {
        self.row.0.page().get(self.number).map(Line::over)
    }
}

/// Nanoseconds by a clock that all processes of this machine read alike, and that [`Instant`](std::time::Instant) is of, too. Never 0.
pub(crate) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos).max(1)
}

#[cfg(test)]
#[path = "board/model_tests.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "the model is of a part of it, over other atomics")]
mod model_tests;
#[cfg(test)]
#[path = "board/tests.rs"]
mod tests;
