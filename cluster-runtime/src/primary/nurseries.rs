//! The nurseries: one for each generation that may still have births. During a reload two, else one.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use super::nursery::Nursery;
use super::slot::Id;
use crate::sys::pidfd::Child;

/// By generation.
#[derive(Debug, Default)]
pub(super) struct Nurseries(BTreeMap<u64, Nursery>);

impl Nurseries {
    pub(super) fn add(&mut self, generation: u64) -> &mut Nursery {
        self.0.entry(generation).or_insert_with(|| Nursery::new(generation))
    }

    /// That of a generation; the one that has no births any more is not found, unless it is about to end.
    pub(super) fn of(&mut self, generation: u64) -> Option<&mut Nursery> {
        self.0.get_mut(&generation)
    }

    /// Forgets one that has ended.
    pub(super) fn remove(&mut self, generation: u64) {
        self.0.remove(&generation);
    }

    pub(super) fn generations(&self) -> Vec<u64> {
        self.0.keys().copied().collect()
    }

    /// Those that have not ended.
    pub(super) fn processes(&self) -> impl Iterator<Item = &Child> {
        self.0.values().filter_map(Nursery::process)
    }

    /// Whether there is none for this generation, and none is to come.
    pub(super) fn are_idle(&self, generation: u64) -> bool {
        self.0.get(&generation).is_none_or(Nursery::is_idle)
    }

    /// Whether one may just have given birth to a worker of which we do not know yet.
    pub(super) fn are_at_work(&self) -> bool {
        self.0.values().any(Nursery::is_at_work)
    }

    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        self.0.values().filter_map(Nursery::pid)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(Nursery::deadline).min()
    }

    /// All but this one are to go. Yields the births that are now not to be.
    pub(super) fn keep_only(&mut self, generation: u64, now: Instant) -> Vec<Id> {
        let others =
            self.0.iter_mut().filter(|(other, nursery)| **other != generation && !nursery.is_retired());
        let unborn = others.flat_map(|(_, nursery)| nursery.retire(now)).collect();
        self.0.retain(|_, nursery| !(nursery.is_retired() && nursery.is_gone()));
        unborn
    }

    /// No more births. Yields those that are now not to be.
    pub(super) fn stop(&mut self) -> Vec<Id> {
        self.0.values_mut().flat_map(Nursery::stop).collect()
    }

    /// Ends all of them at once, and waits for that.
    pub(super) fn end_now(&self) -> io::Result<()> {
        let mut ended = Ok(());
        for nursery in self.0.values() {
            ended = ended.and(nursery.end_now());
        }
        ended
    }

    pub(super) fn are_gone(&self) -> bool {
        self.0.values().all(Nursery::is_gone)
    }
}
