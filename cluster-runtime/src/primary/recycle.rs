//! Workers that are worn are replaced, one by one and without a reload. Pure.
//!
//! As in a reload the new one is ready before the old one drains, and until then the slot is its holder's. It differs in what
//! a failure means: there is nothing new that could be wrong, so it is tried again, later and later, while the old one
//! serves on; and as nobody is missing meanwhile, such a death never counts towards giving up.
//!
//! Not so fast that it harms: a slot's worker serves for [`LEAST`] before it is replaced, and not while another of its slot
//! still drains. So one that says at once that it is worn costs a birth a second, and at most one more process.

use std::time::{Duration, Instant};

use super::slot::{Id, Life, Member};
use super::step::{Effect, Fleet, Phase};
use crate::ipc::message::Wear;
use crate::jitter;

/// How long one is ready, at least, before another takes its place.
const LEAST: Duration = Duration::from_secs(1);

/// Somebody who is worn, or will be.
#[derive(Clone, Copy, Debug)]
struct Due {
    /// From when on. The first comes first.
    since: Instant,
    /// Not before.
    at: Instant,
    id: Id,
    slot: usize,
    why: Wear,
}

impl Fleet {
    /// It says so. Only the first word counts.
    pub(super) fn worn(&mut self, id: Id, why: Wear, now: Instant) {
        if let Some(member) = self.heard(id) {
            member.worn.get_or_insert((now, why));
        }
    }

    /// Not while a reload or an upgrade runs, or waits for its turn: it makes everybody new.
    fn may_recycle(&self) -> bool {
        let soon = self.reloads.wanted || self.upgrades.under_way.is_some();
        self.phase == Phase::Running && self.reloading().is_none() && !soon
    }

    /// Sends replacements for those who are worn, as many as may come at once: called at the end of each step.
    pub(super) fn recycle(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.worn_at = None;
        if !self.may_recycle() {
            return;
        }
        let mut all: Vec<_> = (0..self.slots.len()).filter_map(|slot| self.due(slot)).collect();
        // Whoever is hindered by anything but time is looked at again when that has changed: there is a step then.
        self.worn_at = all.iter().map(|due| due.at).filter(|at| *at > now).min();
        all.retain(|due| due.at <= now && !self.reloads.is_coming_to(due.slot) && !self.has_another(due.id));
        all.sort_by_key(|due| (due.since, due.id));
        let room = self.rules.max_surge.saturating_sub(self.reloads.coming.len());
        for Due { id, slot, why, .. } in all.into_iter().take(room) {
            let by = self.ids.next();
            out.push(Effect::Recycling { id, by, why });
            self.send_to(slot, by, self.generation(), now, out);
        }
    }

    /// When the holder of this slot is to be replaced, if ever.
    fn due(&self, slot: usize) -> Option<Due> {
        let id = self.holder(slot)?;
        let member = self.members.get(&id).filter(|member| !member.asked)?;
        let Life::Ready { since: ready } = member.life else { return None };
        let age = self.rules.max_age.map(|age| {
            let age = age.mul_f64(jitter::of_worker(id.0));
            (member.born + age, Wear::Age(age))
        });
        let (since, why) = [member.worn, age].into_iter().flatten().min_by_key(|(since, _)| *since)?;
        let at = since.max(ready + LEAST).max(self.slots[slot].recycle_at.unwrap_or(since));
        Some(Due { since, at, id, slot, why })
    }

    /// Whether its slot has another member: one that was replaced, and still drains.
    fn has_another(&self, id: Id) -> bool {
        let slot = self.members.get(&id).map(|member| member.slot);
        let other = |(other, member): (&Id, &Member)| *other != id && Some(member.slot) == slot;
        self.members.iter().any(other)
    }

    /// A replacement of one that is worn has ended before it was ready.
    pub(super) fn did_not_come(&mut self, id: Id, slot: usize, now: Instant, out: &mut Vec<Effect>) {
        if !self.is_filled(slot) {
            // Nor is it wanted any more.
            return;
        }
        let delay = self.slots[slot].streak.lengthen(id.0);
        self.slots[slot].recycle_at = Some(now + delay);
        if let Some(id) = self.slots[slot].holder {
            out.push(Effect::NotRecycled { id, delay });
        }
    }
}

#[cfg(test)]
#[path = "recycle_tests.rs"]
mod tests;
