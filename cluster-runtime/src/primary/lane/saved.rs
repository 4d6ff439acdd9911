//! The lanes, as one image of the primary leaves them for the next. What is on them stays in the kernel.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Lane, Lanes, Left, Turn};
use crate::config::{Overload, Policy};
use crate::ipc::message::{LaneId, ListenerId};
use crate::primary::pace::Pace;
use crate::primary::pick::RoundRobin;
use crate::primary::rows;
use crate::primary::slot::Id;
use crate::sys::passed::{Claims, Fd};

/// All of them, and whose turn it is.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SavedLanes {
    lanes: Vec<SavedLane>,
    turns: Vec<(ListenerId, Turn)>,
    last: u64,
}

#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
struct SavedLane {
    id: LaneId,
    worker: u64,
    slot: usize,
    listeners: Vec<ListenerId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tended: Vec<ListenerId>,
    tx: Fd,
    rx: Fd,
    full: bool,
    ended: bool,
    left: Left,
    #[serde(default, skip_serializing_if = "is_none")]
    generation: u64,
    #[serde(default, skip_serializing_if = "is_none")]
    handed: u64,
    #[serde(default, skip_serializing_if = "is_none")]
    taken_back: u64,
}

/// What an earlier image has not saved is not known, and 0.
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Lanes {
    pub(crate) fn save(&self) -> SavedLanes {
        let lanes = self.lanes.iter().map(|(id, lane)| SavedLane {
            id: *id,
            worker: lane.worker.0,
            slot: lane.slot,
            listeners: lane.listeners.clone(),
            tended: lane.tended.clone(),
            tx: Fd::of(&lane.tx),
            rx: Fd::of(&lane.rx),
            full: lane.full,
            ended: lane.ended,
            left: lane.left,
            generation: lane.generation,
            handed: lane.pace.handed(),
            taken_back: lane.pace.taken_back(),
        });
        let turns = self.rings.iter().filter_map(|(id, ring)| Some((*id, ring.robin.last()?)));
        SavedLanes { lanes: lanes.collect(), turns: turns.collect(), last: self.last }
    }
}

impl SavedLanes {
    pub(crate) fn fds(&self) -> impl Iterator<Item = &Fd> {
        self.lanes.iter().flat_map(|lane| [&lane.tx, &lane.rx])
    }

    /// One that was crowded, or rested, is tried at once: the kernel says again how it is.
    pub(crate) fn adopt(self, overload: Overload, policy: Policy, claims: &Claims) -> Lanes {
        let mut lanes = Lanes::new(overload, policy);
        lanes.last = self.last;
        for saved in self.lanes {
            let SavedLane { id, worker, slot, listeners, tended, tx, rx, full, ended, left, .. } = saved;
            let (generation, pace) = (saved.generation, Pace::of(saved.handed, saved.taken_back));
            let (tx, rx) = (tx.take(claims), rx.take(claims));
            let worker = Id(worker);
            let lane = Lane {
                worker,
                slot,
                listeners,
                tended,
                tx,
                rx,
                full,
                silent: false,
                crowded: false,
                rest_until: None,
                ended,
                left,
                view: rows::view(worker, id),
                generation,
                pace,
                watched: policy.moves(),
                returned: false,
                #[cfg(test)]
                pretended: None,
                // Nobody knows.
                empty: false,
            };
            if lane.watched {
                // What was unread when the image before looked is there still, perhaps.
                lanes.watched.push_back((Instant::now(), id));
            }
            lanes.insert(id, lane);
        }
        for (listener, turn) in self.turns {
            lanes.rings.entry(listener).or_default().robin = RoundRobin::after(turn);
        }
        lanes
    }
}
