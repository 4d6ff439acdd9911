//! The board in the primary: where each worker's row is, and what was made of it.
//!
//! Kept apart from the loop, by thread, as the channels are: what stands there changes without the loop, and a callback that asks
//! is to be told how it is now.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::slot::Id;
use super::tally::Tally;
use crate::board::{self, MOST_LINES, Row, Seen, View};
use crate::ipc::message::LaneId;
use crate::report;

pub(crate) mod saved;

thread_local! {
    /// Not closed by exit(3), as the lines of the hub are not.
    static ROWS: RefCell<ManuallyDrop<Rows>> = RefCell::default();
}

#[derive(Debug, Default)]
struct Rows {
    rows: BTreeMap<Id, Known>,
    /// Of those that are gone.
    past: Tally,
    /// That none could be made, as long as none can: each birth would say it again.
    told: bool,
}

/// A worker's row.
#[derive(Debug)]
struct Known {
    /// For the next image of this program.
    memory: OwnedFd,
    row: Row,
    /// By [`board::now`].
    made: u64,
    /// The last line that a lane was given. None is ever given again: who receives on it counts on from what was there, and what
    /// was received on the lane before may be open still.
    last: u8,
    /// Those that something is to be heard of.
    lanes: BTreeMap<LaneId, u8>,
    tally: Tally,
}

impl Known {
    /// Yields, too, whether it is to be told of that it lies.
    fn read(&mut self) -> (Seen, bool) {
        let lived = Duration::from_nanos(board::now().saturating_sub(self.made));
        let lies = self.tally.note(self.row.sum(), lived);
        (self.tally.believed(), lies)
    }

    /// How long ago each of its threads gave a sign of life: those of its lanes, and that of its body.
    fn beats(&self) -> impl Iterator<Item = (Option<LaneId>, Duration)> {
        let now = board::now();
        let lines = self.lanes.iter().map(|(lane, line)| (Some(*lane), *line)).chain([(None, 0)]);
        lines.filter_map(move |(lane, line)| match self.row.view(line).beat() {
            0 => None,
            // From the future: as good as now.
            beat => Some((lane, Duration::from_nanos(now.saturating_sub(beat)))),
        })
    }
}

fn with<T>(id: Id, look: impl FnOnce(&mut Known) -> T) -> Option<T> {
    ROWS.with_borrow_mut(|rows| rows.rows.get_mut(&id).map(look))
}

/// A row for a worker that is being born. Yields its end of it; it can do without.
pub(crate) fn open(id: Id) -> Option<OwnedFd> {
    let made = board::make().and_then(|(theirs, memory)| Ok((Row::of(&memory)?, theirs, memory)));
    match made {
        Ok((row, theirs, memory)) => {
            let known = Known {
                memory,
                row,
                made: board::now(),
                last: 0,
                lanes: BTreeMap::new(),
                tally: Tally::default(),
            };
            ROWS.with_borrow_mut(|rows| {
                rows.rows.insert(id, known);
                rows.told = false;
            });
            Some(theirs)
        }
        Err(error) => {
            if !ROWS.with_borrow_mut(|rows| std::mem::replace(&mut rows.told, true)) {
                report::warn(format_args!(
                    "making a page of memory for what worker {} counts: {error}; it is not known what it does",
                    id.0
                ));
            }
            None
        }
    }
}

/// It is gone: what it has counted is counted still.
pub(crate) fn close(id: Id) {
    let lies = ROWS.with_borrow_mut(|rows| {
        let mut known = rows.rows.remove(&id)?;
        let (_, lies) = known.read();
        known.tally.fold_into(&mut rows.past);
        Some(lies)
    });
    if lies == Some(true) {
        tell_liar(id);
    }
}

/// Not while the rows are borrowed: what a program does about a word in its log is its own.
fn tell_liar(id: Id) {
    report::error(format_args!(
        "worker {} has written on its board what can't be: what it counts is passed over",
        id.0
    ));
}

/// In a child, or at the end: there are none any more.
pub(crate) fn close_all() {
    drop(ManuallyDrop::into_inner(ROWS.take()));
}

/// A line for a lane that is being opened; none where all have been given.
pub(crate) fn give_line(id: Id, lane: LaneId) -> Option<View> {
    with(id, |known| {
        let line = known.last.checked_add(1).filter(|line| *line <= MOST_LINES)?;
        known.last = line;
        known.lanes.insert(lane, line);
        Some(known.row.view(line))
    })
    .flatten()
}

/// Which one it was given.
pub(crate) fn line_of(id: Id, lane: LaneId) -> Option<u8> {
    with(id, |known| known.lanes.get(&lane).copied()).flatten()
}

/// Whether what beats for this lane, or for the body, is seen if it does so on the board.
pub(crate) fn are_beats_seen(id: Id, lane: Option<LaneId>) -> bool {
    with(id, |known| lane.is_none_or(|lane| known.lanes.contains_key(&lane))).unwrap_or(false)
}

/// What there is of it.
pub(super) fn view(id: Id, lane: LaneId) -> Option<View> {
    with(id, |known| known.lanes.get(&lane).map(|line| known.row.view(*line))).flatten()
}

/// Nothing is to be heard of this lane any more.
pub(crate) fn end_lane(id: Id, lane: LaneId) {
    with(id, |known| known.lanes.remove(&lane));
}

/// How long ago everybody gave a sign of life by the board.
pub(crate) fn beats() -> Vec<(Id, Option<LaneId>, Duration)> {
    ROWS.with_borrow(|rows| {
        let beats = |(id, known): (&Id, &'_ Known)| {
            let id = *id;
            known.beats().map(|(lane, ago)| (id, lane, ago)).collect::<Vec<_>>()
        };
        rows.rows.iter().flat_map(beats).collect()
    })
}

/// How long ago that of a worker's lanes gave one which is silent for the longest.
pub(crate) fn silent(id: Id) -> Option<Duration> {
    with(id, |known| known.beats().filter(|(lane, _)| lane.is_some()).map(|(_, ago)| ago).max()).flatten()
}

/// What a worker has counted; nothing where it has no row.
pub(crate) fn load(id: Id) -> Option<Seen> {
    let (seen, lies) = with(id, Known::read)?;
    if lies {
        tell_liar(id);
    }
    Some(seen)
}

/// What all have, since the cluster began.
pub(crate) fn total() -> Seen {
    let ids: Vec<_> = ROWS.with_borrow(|rows| rows.rows.keys().copied().collect());
    let past = ROWS.with_borrow(|rows| rows.past.believed());
    ids.into_iter().filter_map(load).fold(past, Seen::plus)
}
