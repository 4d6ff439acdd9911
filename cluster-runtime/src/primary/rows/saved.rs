//! The board, as one image of the primary leaves it for the next. What stands on it stays in memory that both map.

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;

use serde::{Deserialize, Serialize};

use super::{Known, ROWS, Rows, Tally};
use crate::board::{MOST_LINES, Row};
use crate::ipc::message::LaneId;
use crate::primary::slot::Id;
use crate::report;
use crate::sys::passed::{Claims, Fd};

/// All rows, and what those had counted who are gone.
#[derive(Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SavedRows {
    rows: Vec<SavedRow>,
    past: Tally,
}

#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
struct SavedRow {
    worker: u64,
    memory: Fd,
    made: u64,
    last: u8,
    lanes: Vec<(LaneId, u8)>,
    tally: Tally,
}

pub(crate) fn save() -> SavedRows {
    ROWS.with_borrow(|all| {
        let Rows { rows, past, told: _ } = &**all;
        let save = |(id, known): (&Id, &Known)| SavedRow {
            worker: id.0,
            memory: Fd::of(&known.memory),
            made: known.made,
            last: known.last,
            lanes: known.lanes.iter().map(|(lane, line)| (*lane, *line)).collect(),
            tally: known.tally,
        };
        SavedRows { rows: rows.iter().map(save).collect(), past: *past }
    })
}

impl SavedRows {
    pub(crate) fn is_empty(&self) -> bool {
        *self == SavedRows::default()
    }

    pub(crate) fn fds(&self) -> impl Iterator<Item = &Fd> {
        self.rows.iter().map(|row| &row.memory)
    }

    /// From now on they are this image's. A worker goes without that was born under an image that gave it none, or whose row
    /// can't be mapped. Yields the latter, with the lanes of which nothing can be heard: they beat where nobody sees it.
    #[must_use = "whoever waits for their beats takes them for stalled"]
    pub(crate) fn adopt(self, claims: &Claims) -> Vec<(Id, Vec<LaneId>)> {
        let SavedRows { rows: saved, mut past } = self;
        let (mut rows, mut unseen) = (BTreeMap::new(), Vec::new());
        for SavedRow { worker, memory, made, last, lanes, tally } in saved {
            let memory = memory.take(claims);
            match Row::of(&memory) {
                Ok(row) => {
                    let lanes = lanes.into_iter().filter(|(_, line)| *line <= MOST_LINES).collect();
                    rows.insert(Id(worker), Known { memory, row, made, last, lanes, tally });
                }
                Err(error) => {
                    report::error(format_args!("mapping what worker {worker} counts: {error}"));
                    // Sums never go backwards.
                    tally.fold_into(&mut past);
                    unseen.push((Id(worker), lanes.into_iter().map(|(lane, _)| lane).collect()));
                }
            }
        }
        ROWS.set(ManuallyDrop::new(Rows { rows, past, told: false }));
        unseen
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::IntoRawFd;

    use rustix::io::{FdFlags, fcntl_setfd};

    use super::*;
    use crate::board::Seen;
    use crate::primary::rows;

    /// Mutation: forget what it had counted; or say that nothing is missing.
    #[test]
    fn what_can_not_be_mapped_again_is_counted_still_and_not_waited_for() {
        let memory = File::open("/dev/null").unwrap();
        fcntl_setfd(&memory, FdFlags::empty()).unwrap();
        let (mut tally, mut past) = (Tally::default(), Tally::default());
        let seen = Seen { received: 7, open: 2, served: 30 };
        tally.note(seen, std::time::Duration::from_secs(1));
        tally.fold_into(&mut past);
        let (lanes, memory) = (vec![(LaneId(3), 1)], Fd::numbered(memory.into_raw_fd()));
        let row = SavedRow { worker: 5, memory, made: 1, last: 1, lanes, tally };
        let saved = SavedRows { rows: vec![row], past };
        let claims = Claims::of(saved.fds()).unwrap();
        assert_eq!(saved.adopt(&claims), [(Id(5), vec![LaneId(3)])]);
        assert_eq!(rows::total(), Seen { received: 14, open: 0, served: 60 });
        rows::close_all();
    }
}
