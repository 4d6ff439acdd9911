//! Lanes whose workers accept by themselves, and what is left to the primary.

use super::{Lane, Lanes, Turn};
use crate::board::View;
use crate::ipc::message::{LaneId, ListenerId};
use crate::primary::slot::Id;

impl Lanes {
    /// A worker accepts from these by itself, while it reads from this lane.
    pub(crate) fn tend(&mut self, worker: Id, id: LaneId, mut listeners: Vec<ListenerId>) {
        if let Some(lane) = self.of(worker, id) {
            listeners.retain(|listener| lane.listeners.contains(listener));
            listeners.sort_unstable();
            listeners.dedup();
            lane.tended = listeners;
            self.sort(id);
        }
    }

    /// Whether the primary is to accept from a listener's socket, or from that of one slot: somebody takes what comes, or it is
    /// turned away, and nobody who has room accepts from it by himself.
    pub(crate) fn leave_to_us(&self, listener: ListenerId, slot: Option<usize>) -> bool {
        let Some(ring) = self.rings.get(&listener).filter(|ring| !ring.ready.is_empty()) else {
            return self.is_overloaded(listener);
        };
        match slot {
            // Of several who have room, some may know only the lane: those of the program before an upgrade.
            None => ring.tended.len() < ring.ready.len(),
            Some(slot) => {
                let first = ring.tended.partition_point(|(other, _): &Turn| *other < slot);
                ring.tended.get(first).is_none_or(|(other, _)| *other != slot)
            }
        }
    }
}

impl Lane {
    /// How many its reader says that it has read from it: what it has accepted by itself was never there, and would have all that
    /// it leaves unread pass for read.
    pub(super) fn read(&self) -> Option<u64> {
        #[cfg(test)]
        if let Some(seen) = self.pretended {
            return Some(seen.received);
        }
        self.view.as_ref().and_then(View::off_the_lane)
    }
}

/// Puts a turn among others, in their order, or takes it out.
pub(super) fn place(turns: &mut Vec<Turn>, turn: Turn, among: bool) {
    match (turns.binary_search(&turn), among) {
        (Err(at), true) => turns.insert(at, turn),
        (Ok(at), false) => drop(turns.remove(at)),
        _ => {}
    }
}
