//! A rolling reload: new workers beside the old ones, slot by slot. Pure.
//!
//! ```text
//! begin ─▶ spawn beside ─ready─▶ takes the slot, who held it drains ─▶ the next slot … ─▶ done
//!              └─gone, late, refused─▶ failed: nobody else is touched
//! ```
//!
//! Until a replacement is ready the slot is its holder's, and supervision goes on as if there were no reload: so a
//! failure has nothing to undo. The next slot does not wait until an old worker has drained, which takes as long as its
//! clients like; so as to keep no more than one generation of those, the next *reload* does wait.
//!
//! How one comes beside another holds for `recycle.rs` too, which replaces workers without a reload.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::slot::{Id, Member};
use super::status::ReloadStatus;
use super::step::{Effect, Fleet, Slot};
use crate::event::Exit;
use crate::reload::{Reload, ReloadFailure};

/// What is known of reloads: one runs at most, and one waits at most.
#[derive(Debug)]
pub(super) struct Reloads {
    /// Of every birth that is not a replacement: that of the last reload that succeeded.
    pub(super) current: u64,
    /// The last one that was begun. A failed one's number is not used again: some of its workers may serve.
    pub(super) last: u64,
    pub(super) running: Option<Running>,
    /// Asked for, and not begun.
    pub(super) wanted: bool,
    /// Replacements that are not ready yet, by slot: those of the reload that runs, else those of workers that are worn.
    pub(super) coming: BTreeMap<usize, Id>,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) generation: u64,
    pub(super) began: Instant,
    pub(super) roll: Roll,
}

/// What all workers are replaced for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Roll {
    Reload,
    /// This is a new image, and its workers are to show that it works.
    Proving,
    /// The new image has failed, and whoever it had born is to go.
    Returning,
}

impl Default for Reloads {
    fn default() -> Reloads {
        Reloads { current: 1, last: 1, running: None, wanted: false, coming: BTreeMap::new() }
    }
}

impl Reloads {
    /// Whether a replacement for whoever holds the slot is not ready yet.
    pub(super) fn is_coming_to(&self, slot: usize) -> bool {
        self.coming.contains_key(&slot)
    }

    /// The generation of the one that takes a dead worker's place: during a reload, its own.
    pub(super) fn after(&self, dead: &Member) -> u64 {
        let same = |running: &&Running| running.generation == dead.generation;
        self.running.as_ref().filter(same).map_or(self.current, |running| running.generation)
    }
}

impl Fleet {
    /// The generation of every birth that is not a replacement.
    pub(crate) fn generation(&self) -> u64 {
        self.reloads.current
    }

    /// The generation that is being made.
    pub(crate) fn reloading(&self) -> Option<u64> {
        self.reloads.running.as_ref().map(|running| running.generation)
    }

    /// How far it has come.
    pub(crate) fn progress(&self) -> Option<ReloadStatus> {
        let running = self.reloads.running.as_ref()?;
        let (generation, coming) = (running.generation, &self.reloads.coming);
        let ready = |slot: &Slot| {
            let holder = slot.holder.and_then(|id| self.members.get(&id));
            holder.is_some_and(|holder| holder.generation == generation && holder.ready().is_some())
        };
        let left = |slot: &usize| !coming.contains_key(slot) && self.is_old(*slot, generation);
        Some(ReloadStatus {
            generation,
            done: self.slots.iter().filter(|slot| ready(slot)).count(),
            coming: coming.len(),
            left: (0..self.slots.len()).filter(left).count(),
        })
    }

    /// Whose slot it is.
    pub(crate) fn holder(&self, slot: usize) -> Option<Id> {
        self.slots.get(slot)?.holder
    }

    pub(super) fn want_reload(&mut self) {
        self.reloads.wanted = true;
    }

    /// What is due: called at the end of each step, whatever happened in it.
    pub(super) fn roll(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.is_told_to_stop() {
            self.end_reload(Some(ReloadFailure::Stopped), now, out);
            // Nor is anybody to come beside one that is worn: in the time before the drain it would serve on, without a place.
            for id in std::mem::take(&mut self.reloads.coming).into_values() {
                self.drain(id, true, now, out);
            }
            self.stop_upgrade(now, out);
            if std::mem::take(&mut self.reloads.wanted) {
                self.reloads.last += 1;
                out.push(Effect::Reloaded(Reload {
                    generation: self.reloads.last,
                    took: Duration::ZERO,
                    failure: Some(ReloadFailure::Stopped),
                }));
            }
            return;
        }
        while self.reloads.running.is_some() || self.may_begin() {
            if self.reloads.running.is_none() {
                self.begin(now, out);
            }
            self.spawn_beside(now, out);
            if self.reloads.running.as_ref().is_some_and(|running| self.is_awaited(running)) {
                return;
            }
            self.end_reload(None, now, out);
        }
        self.begin_upgrade(now, out);
    }

    /// Not while somebody drains whom a reload has replaced, or given up: one generation of those is enough.
    fn may_begin(&self) -> bool {
        self.reloads.wanted && !self.upgrades.hold_reloads() && !self.somebody_is_left_over()
    }

    pub(super) fn somebody_is_left_over(&self) -> bool {
        let left_over = |(id, member): (&Id, &Member)| self.slots[member.slot].holder != Some(*id);
        self.members.iter().any(left_over)
    }

    fn begin(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let reloads = &mut self.reloads;
        reloads.wanted = false;
        self.upgrades.come_next();
        reloads.last += 1;
        let generation = reloads.last;
        reloads.running = Some(Running { generation, began: now, roll: Roll::Reload });
        out.push(Effect::Reloading { generation });
    }

    /// Whether somebody of the new generation is not ready yet: a replacement, or who has taken the place of one that was
    /// ready and has died.
    fn is_awaited(&self, running: &Running) -> bool {
        let unready = |member: &Member| !member.asked && member.ready().is_none();
        let new = |member: &Member| member.generation == running.generation;
        // The old image is kept until nobody of it is left.
        let old_image = |member: &Member| running.roll == Roll::Proving && !new(member);
        let awaited = |member: &Member| new(member) && unready(member) || old_image(member);
        !self.reloads.coming.is_empty() || self.members.values().any(awaited)
    }

    /// As many as may come at once, in the order of their slots.
    fn spawn_beside(&mut self, now: Instant, out: &mut Vec<Effect>) {
        while let Some(running) = &self.reloads.running
            && self.reloads.coming.len() < self.rules.max_surge
            && let Some(slot) = self.next_old_slot(running)
        {
            let (id, generation) = (self.ids.next(), running.generation);
            self.send_to(slot, id, generation, now, out);
        }
    }

    /// Has one born for a slot that is its holder's until the new one is ready.
    pub(super) fn send_to(
        &mut self,
        slot: usize,
        id: Id,
        generation: u64,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        self.members.insert(id, Member::unborn(slot, generation, false, now));
        self.reloads.coming.insert(slot, id);
        out.push(Effect::Spawn { id, slot, generation });
    }

    fn next_old_slot(&self, running: &Running) -> Option<usize> {
        let old = |slot: &usize| !self.reloads.is_coming_to(*slot) && self.is_old(*slot, running.generation);
        (0..self.slots.len()).find(old)
    }

    /// Whether the place is filled, or is to be, and not by this generation.
    fn is_old(&self, slot: usize, generation: u64) -> bool {
        let holder = self.holder(slot).and_then(|id| self.members.get(&id));
        self.is_filled(slot) && holder.is_none_or(|holder| holder.generation != generation)
    }

    /// A worker is ready. If it is a replacement the slot is its own from now on, and who held it is to go.
    pub(super) fn take_over(&mut self, id: Id, now: Instant, out: &mut Vec<Effect>) {
        let Some(slot) = self.has_come(id) else { return };
        if !self.is_filled(slot) {
            // Who held it was asked to leave meanwhile, and whoever asked wants one less.
            self.drain(id, true, now, out);
            return;
        }
        self.slots[slot].refill_at = None;
        if let Some(old) = self.slots[slot].holder.replace(id) {
            if let Some(old) = self.members.get_mut(&old) {
                old.replaced = true;
            }
            self.drain(old, true, now, out);
        }
    }

    /// Where it was coming to, if it was.
    fn has_come(&mut self, id: Id) -> Option<usize> {
        self.reloads.coming.extract_if(.., |_, coming| *coming == id).next().map(|(slot, _)| slot)
    }

    /// A worker is gone. If it is a new one that was not ready, or has died of itself before it had served, the reload
    /// has failed: it would replace what works by what does not.
    pub(super) fn gone_of(
        &mut self,
        id: Id,
        member: &Member,
        exit: &Exit,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let was_coming = self.has_come(id).is_some();
        let Some(running) = &self.reloads.running else {
            if was_coming {
                self.did_not_come(id, member.slot, now, out);
            }
            return;
        };
        let is_new = member.generation == running.generation;
        if was_coming || is_new && !exit.asked && !member.is_blameless(exit, now) {
            self.end_reload(Some(ReloadFailure::Worker { id: id.0, exit: exit.clone() }), now, out);
        }
    }

    /// There will be no births of this generation.
    pub(super) fn barren(&mut self, generation: u64, why: String, now: Instant, out: &mut Vec<Effect>) {
        if self.reloading() == Some(generation) {
            self.end_reload(Some(ReloadFailure::Preload(why)), now, out);
        }
    }

    /// Ends it, if one runs. Who is still coming is not wanted.
    fn end_reload(&mut self, failure: Option<ReloadFailure>, now: Instant, out: &mut Vec<Effect>) {
        let Some(Running { generation, began, roll }) = self.reloads.running.take() else { return };
        for id in std::mem::take(&mut self.reloads.coming).into_values() {
            self.drain(id, true, now, out);
        }
        if failure.is_none() {
            self.reloads.current = generation;
        }
        let took = now.duration_since(began);
        match roll {
            Roll::Reload => out.push(Effect::Reloaded(Reload { generation, took, failure })),
            Roll::Proving => self.proved(failure, now, out),
            Roll::Returning => out.push(Effect::Returned(Reload { generation, took, failure })),
        }
    }
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "reload_properties.rs"]
mod properties;
