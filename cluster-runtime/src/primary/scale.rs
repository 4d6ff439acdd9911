//! The places: who fills them, how many there are to be. Pure.
//!
//! A place is a slot that is filled, or is to be filled again. Who was asked to leave has given up its place, although it may
//! drain for long: so the slot is vacant at once, and whoever takes it is not held up. [`Fleet::target`] counts the places at
//! the end of each step. There is no wish beside that count which could come to differ from it: `fork` makes one more, to
//! be asked to leave makes one less, to scale makes as many as were asked for.

use std::collections::BTreeSet;
use std::time::Instant;

use super::slot::{Id, Member};
use super::step::{Effect, Fleet, Phase, Slot};

impl Fleet {
    /// How many workers there are to be.
    pub(crate) fn target(&self) -> usize {
        self.target
    }

    /// Whether somebody has this place, or is to have it. One that was asked to leave is not to be replaced, and one that has
    /// left has no place any more.
    pub(super) fn is_filled(&self, slot: usize) -> bool {
        let Slot { holder, refill_at, .. } = &self.slots[slot];
        let holder = holder.and_then(|id| self.members.get(&id));
        refill_at.is_some() || holder.is_some_and(|holder| !holder.asked)
    }

    /// Whether some worker is still to be born or to come up: it may take the place of one that is dead. So may the
    /// successor of one that is about to die unasked.
    pub(crate) fn somebody_comes(&self) -> bool {
        let coming = |member: &Member| match member.life.is_leaving() {
            true => !member.asked,
            false => member.ready().is_none(),
        };
        self.slots.iter().any(|slot| slot.refill_at.is_some()) || self.members.values().any(coming)
    }

    pub(super) fn count(&mut self) {
        // At a stop everybody is asked to leave, and nobody is wanted less for it.
        if self.phase == Phase::Running {
            self.target = (0..self.slots.len()).filter(|slot| self.is_filled(*slot)).count();
        }
    }

    /// Notes when the next thing is due, so that [`deadline`](Fleet::deadline) need not look at everybody.
    pub(super) fn look_ahead(&mut self) {
        let refills = self.slots.iter().filter_map(|slot| slot.refill_at);
        let others = refills.chain(self.upgrades.deadline()).chain(self.pre_drain_end()).chain(self.worn_at);
        self.due_at = self.members.values().filter_map(Member::deadline).chain(others).min();
        self.look_ahead_at_hearts();
    }

    /// As many as this, from now on: the lowest vacant slots are filled, or the highest places are given up. During a reload
    /// the new ones are of the generation that is being made.
    pub(super) fn scale(&mut self, workers: usize, now: Instant, out: &mut Vec<Effect>) {
        if self.phase != Phase::Running || workers == 0 {
            return;
        }
        // Of this moment: where an upgrade's end asks for it, the same step may have changed it.
        self.count();
        let from = self.target;
        out.push(Effect::Scaled { from, to: workers });
        for _ in from..workers {
            let generation = self.reloading().unwrap_or_else(|| self.generation());
            let id = self.ids.next();
            let slot = self.lowest(|_| true);
            self.fill(id, Member::unborn(slot, generation, false, now), out);
        }
        let places = (0..self.slots.len()).rev().filter(|slot| self.is_filled(*slot));
        let given_up: Vec<_> = places.take(from.saturating_sub(workers)).collect();
        for slot in given_up {
            self.give_up(slot, now, out);
        }
    }

    /// Whoever has the place leaves, and so does whoever is coming to it.
    fn give_up(&mut self, slot: usize, now: Instant, out: &mut Vec<Effect>) {
        self.slots[slot].refill_at = None;
        for id in [self.slots[slot].holder, self.reloads.coming.remove(&slot)].into_iter().flatten() {
            self.drain(id, true, now, out);
        }
    }

    /// The first ones.
    pub(super) fn start(&mut self, workers: usize, now: Instant, out: &mut Vec<Effect>) {
        self.configured = workers;
        for _ in 0..workers {
            let id = self.ids.next();
            self.fork(id, true, now, out);
        }
    }

    /// One more by hand, of the generation in force: nobody is in its slot, not even somebody who leaves.
    pub(super) fn fork(&mut self, id: Id, first: bool, now: Instant, out: &mut Vec<Effect>) {
        let taken: BTreeSet<_> = self.members.values().map(|member| member.slot).collect();
        let slot = self.lowest(|slot| !taken.contains(&slot));
        self.fill(id, Member::unborn(slot, self.generation(), first, now), out);
    }

    /// The lowest slot that is vacant, and in which there is nothing else against it.
    fn lowest(&mut self, vacant: impl Fn(usize) -> bool) -> usize {
        let is_vacant = |slot: &usize| {
            // Where one is coming it would take the place of this one, and is not given what this one is.
            !self.is_filled(*slot) && !self.reloads.is_coming_to(*slot) && vacant(*slot)
        };
        (0..self.slots.len()).find(is_vacant).unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        })
    }

    pub(super) fn fill(&mut self, id: Id, member: Member, out: &mut Vec<Effect>) {
        let Member { slot, generation, .. } = member;
        self.slots[slot].holder = Some(id);
        self.slots[slot].refill_at = None;
        self.members.insert(id, member);
        if self.upgrades.postpone_births() {
            self.upgrades.postponed.push(id);
        } else {
            out.push(Effect::Spawn { id, slot, generation });
        }
    }

    /// Fills those whose time has come.
    pub(super) fn refill(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].refill_at.is_some_and(|at| at <= now) {
                let id = self.ids.next();
                self.fill(id, Member::unborn(slot, self.generation(), false, now), out);
            }
        }
    }
}

#[cfg(test)]
#[path = "scale_tests.rs"]
mod tests;
