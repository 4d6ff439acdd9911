//! The board, as one image of the primary leaves it for the next. What stands on it stays in memory that both map.

use std::collections::BTreeMap;

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
    ROWS.with_borrow(|Rows { rows, past, told: _ }| {
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
    /// can't be mapped.
    pub(crate) fn adopt(self, claims: &Claims) {
        let SavedRows { rows: saved, past } = self;
        let mut rows = BTreeMap::new();
        for SavedRow { worker, memory, made, last, lanes, tally } in saved {
            let memory = memory.take(claims);
            match Row::of(&memory) {
                Ok(row) => {
                    let lanes = lanes.into_iter().filter(|(_, line)| *line <= MOST_LINES).collect();
                    rows.insert(Id(worker), Known { memory, row, made, last, lanes, tally });
                }
                Err(error) => {
                    report::error(format_args!("mapping what worker {worker} counts: {error}"));
                }
            }
        }
        ROWS.set(Rows { rows, past, told: false });
    }
}
