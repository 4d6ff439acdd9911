//! Which lane gets the next connection, and which has to give back what its worker does not come to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::{Connection, Lane, Lanes, Left, Turn, place};
use crate::board::Seen;
use crate::config::Policy;
use crate::event::Address;
use crate::ipc::message::{LaneId, ListenerId};
use crate::policy::{Candidate, Choice};
use crate::primary::pace::until_next_look;
use crate::primary::pick::{Load, slot_of};
use crate::report;

/// A policy that takes longer than this holds up everybody who comes after: some thousand clients in a second.
const LONG: Duration = Duration::from_millis(1);

/// What is kept for a policy of the user's own.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Filled anew for each connection, in the same memory.
    candidates: Vec<Candidate>,
    told_panic: bool,
    told_nobody: bool,
    told_long: bool,
}

impl Lanes {
    /// The lane of this connection; none where nobody has room.
    pub(super) fn choose(&mut self, connection: &Connection, address: Option<&Address>) -> Option<LaneId> {
        let Lanes { rings, lanes, policy, own, .. } = self;
        let ring = rings.get_mut(&connection.listener)?;
        let slot = match (*policy, connection.peer, address) {
            (Policy::LeastConnections, ..) => {
                let load = |(_, id)| lanes.get_mut(&id)?.load();
                return ring.robin.pick_least(&ring.ready, load).map(|(_, id)| id);
            }
            (Policy::Sticky, Some(peer), _) => slot_of(peer.ip(), ring.ready.iter().map(|(slot, _)| *slot)),
            (Policy::Own(policy), peer, Some(address)) if !ring.ready.is_empty() => {
                own.fill(&ring.ready, lanes);
                own.ask(policy, peer, address)
            }
            _ => None,
        };
        let Some(slot) = slot else {
            let is_behind = |(_, id)| lanes.get_mut(&id).is_some_and(Lane::is_behind);
            return ring.robin.pick(&ring.ready, is_behind).map(|(_, id)| id);
        };
        // During a reload a slot has two workers for a moment; the newer one is for whoever comes. Of its threads, the one with
        // the least to do.
        let its = ring.ready.iter().filter(|(at, _)| *at == slot);
        its.filter_map(|(_, id)| {
            let lane = lanes.get_mut(id)?;
            let load = lane.load().map_or(0, |load| load.connections);
            Some(((std::cmp::Reverse(lane.worker), load, lane.pace.handed()), *id))
        })
        .min()
        .map(|(_, id)| id)
    }

    /// Looks at the lanes on which something may lie unread, each once in a while. Nobody tells when a worker
    /// reads, or does not: so this is what the primary wakes up for, and while nothing is unread it does not.
    pub(super) fn watch(&mut self, now: Instant) {
        while let Some((at, id)) = self.watched.pop_front_if(|(at, _)| *at <= now) {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.pace.look(lane.read());
            lane.returned = false;
            if lane.empty {
                // Else it would be late for ever, given nothing by which it could catch up, and looked at for ever.
                lane.pace.is_empty();
            }
            // What is on one that is out of the rings is for others anyhow, or for nobody else.
            lane.watched = lane.pace.unread() > 0 && !(lane.full || lane.silent || lane.ended);
            if !lane.watched {
                lane.pace.rest();
            }
            place(&mut self.giving, id, lane.gives());
            if lane.watched {
                self.stirred |= lane.pace.is_late();
                self.watched.push_back((now + until_next_look(now.saturating_duration_since(at)), id));
            }
        }
    }

    /// Whether what is on this lane is for others, and there are others.
    pub(super) fn is_for_others(&mut self, id: LaneId) -> bool {
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        if lane.full || lane.silent || lane.left != Left::No {
            let forsaken = lane.left == Left::Gone && lane.listeners.is_empty();
            let lane = self.lanes.get(&id);
            let wanted = |listener: &ListenerId| self.has_room(*listener) || self.is_overloaded(*listener);
            return forsaken || lane.is_some_and(|lane| lane.listeners.iter().any(wanted));
        }
        // At a stop each keeps what it has: others may have no time for it either.
        if lane.ended || self.limitless || !lane.is_late() {
            return false;
        }
        let listeners = lane.listeners.clone();
        let Lanes { rings, lanes, .. } = self;
        let mut keeps_up = |(_, id): &Turn| lanes.get_mut(id).is_some_and(|lane| !lane.is_behind());
        listeners
            .iter()
            .filter_map(|listener| rings.get(listener))
            .any(|ring| ring.ready.iter().any(&mut keeps_up))
    }
}

impl Lane {
    fn note(&mut self) -> Option<Seen> {
        let seen = self.seen();
        self.pace.note(self.read());
        seen
    }

    fn is_late(&mut self) -> bool {
        // First what is known: of all the others nothing needs to be looked up.
        self.pace.is_late() && {
            self.note();
            self.pace.is_late()
        }
    }

    fn is_behind(&mut self) -> bool {
        self.note();
        self.pace.is_behind()
    }

    fn candidate(&mut self) -> Candidate {
        let Seen { received, open, served } = self.note().unwrap_or_default();
        let (id, slot, generation) = (self.worker.0, self.slot, self.generation);
        let (handed, unread) = (self.pace.handed(), self.pace.unread());
        Candidate { id, slot, generation, handed, unread, received, open, served }
    }

    fn load(&mut self) -> Option<Load> {
        let connections = self.note()?.open.saturating_add(self.pace.unread());
        Some(Load { behind: self.pace.is_behind(), connections })
    }
}

impl Own {
    /// Who there is to choose from: of each slot its newest worker, with all of its lanes together.
    fn fill(&mut self, ready: &[Turn], lanes: &mut BTreeMap<LaneId, Lane>) {
        self.candidates.clear();
        for lane in ready.iter().map(|(_, id)| id) {
            let Some(lane) = lanes.get_mut(lane) else { continue };
            let one = lane.candidate();
            match self.candidates.last_mut().filter(|last| last.slot == one.slot) {
                Some(last) if last.id == one.id => last.add(&one),
                Some(last) if last.id < one.id => *last = one,
                Some(_) => {}
                None => self.candidates.push(one),
            }
        }
    }

    /// The slot of the policy's choice, if it has made one.
    fn ask(
        &mut self,
        policy: fn(&Choice<'_>) -> Option<usize>,
        peer: Option<SocketAddr>,
        address: &Address,
    ) -> Option<usize> {
        let choice = Choice { candidates: &self.candidates, peer, address };
        let start = Instant::now();
        let said = catch_unwind(AssertUnwindSafe(|| policy(&choice)));
        let took = start.elapsed();
        if took > LONG && !std::mem::replace(&mut self.told_long, true) {
            report::warn(format_args!(
                "policy took {took:.0?}: nobody is accepted or watched while it runs; it is to take microseconds. \
                 This is said once"
            ));
        }
        let Ok(said) = said else {
            if !std::mem::replace(&mut self.told_panic, true) {
                report::error(format_args!(
                    "policy panicked: this connection goes by turns, and so will others of which it does. This is said once"
                ));
            }
            return None;
        };
        let is_one = |slot: &usize| self.candidates.iter().any(|worker| worker.slot == *slot);
        if let Some(slot) = said.filter(|slot| !is_one(slot))
            && !std::mem::replace(&mut self.told_nobody, true)
        {
            report::error(format_args!(
                "policy said {slot}, which is no candidate's slot: such connections go by turns. This is said once"
            ));
        }
        said.filter(is_one)
    }
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
