//! One generation after another: what a reload needs, and what it leaves behind.

use std::time::Instant;

use super::step::Input;
use super::{Departure, Loop, Turn, desk};
use crate::config::Spawn;
use crate::event::State;
use crate::reload::{Reload, ReloadFailure};
use crate::report;
use crate::upgrade::{Upgrade, UpgradeFailure};

impl Loop {
    /// A reload begins. With a preload its workers wait for a nursery of their own, and the old one stays until it is
    /// known who wins.
    pub(super) fn reloading(&mut self, generation: u64) -> Turn {
        self.tell_reload_begins();
        let surge = self.settings.max_surge;
        report::info(format_args!("reload: generation {generation} begins, {surge} at a time"));
        self.prepare(generation)
    }

    /// Has what this generation needs, whose workers come.
    fn prepare(&mut self, generation: u64) -> Turn {
        if self.preloads.is_none() || self.settings.spawn == Spawn::Exec {
            return Ok(());
        }
        match self.start_nursery(generation) {
            Err(Departure::Broken(error)) => {
                self.nurseries.remove(generation);
                self.step(Input::Barren { generation, why: format!("could not be started: {error}") })
            }
            started => started,
        }
    }

    /// A reload has ended.
    pub(super) fn reloaded(&mut self, outcome: &Reload) -> Turn {
        let failed = outcome.generation();
        match outcome.result() {
            Ok(()) | Err(ReloadFailure::Stopped) => report::info(format_args!("reload: {outcome}")),
            Err(_) => report::error(format_args!("reload: {outcome}; {}", self.who_serves(failed))),
        }
        self.tell_reload_ends(outcome.result().is_err().then(|| format!("reload: {outcome}")));
        self.keep_current()?;
        desk::reloaded(outcome.clone());
        self.callbacks.reloaded(outcome);
        Ok(())
    }

    /// After the generation that was tried has failed.
    fn who_serves(&self, failed: u64) -> String {
        let current = self.fleet.generation();
        let serves = |generation| {
            let of = self.fleet.members().filter(|(_, member)| member.generation == generation);
            of.filter(|(_, member)| member.state() == State::Listening).count()
        };
        let (old, new) = (serves(current), serves(failed));
        format!("{old} workers of generation {current} and {new} of generation {failed} serve on")
    }

    /// Lets go of what other generations than that in force needed.
    fn keep_current(&mut self) -> Turn {
        let unborn = self.nurseries.keep_only(self.fleet.generation(), Instant::now());
        unborn.into_iter().try_for_each(|id| self.not_to_be(id))
    }

    /// This is the new image of an upgrade, and its workers come.
    pub(super) fn proving(&mut self, generation: u64) -> Turn {
        let surge = self.settings.max_surge;
        report::info(format_args!(
            "upgrade: this is the new program; generation {generation} begins, {surge} at a time"
        ));
        self.prepare(generation)
    }

    /// The new image has failed, and nobody more is to be born of it: who is about to be, is waited for.
    pub(super) fn retire(&mut self, generation: u64) -> Turn {
        report::warn(format_args!(
            "upgrade: generation {generation} has failed; going back to the program before"
        ));
        // None has the number 0.
        let unborn = self.nurseries.keep_only(0, Instant::now());
        unborn.into_iter().try_for_each(|id| self.not_to_be(id))
    }

    /// An upgrade has ended, in this image.
    pub(super) fn upgraded(&mut self, outcome: &Upgrade) -> Turn {
        match outcome.result() {
            Ok(()) | Err(UpgradeFailure::Stopped) => report::info(format_args!("upgrade: {outcome}")),
            Err(_) => report::error(format_args!("upgrade: {outcome}")),
        }
        // One that is refused is told of, too, and the other goes on.
        if !self.fleet.is_upgrading() {
            self.upgrading.end();
        }
        // It may have been refused since a reload runs, which has a nursery of its own.
        if self.fleet.reloading().is_none() {
            self.keep_current()?;
        }
        // One that is refused ends neither the other nor the reload that runs, and of those the manager was told.
        let ended = !self.fleet.is_upgrading();
        if ended && (std::mem::take(&mut self.upgrading.told) || self.fleet.reloading().is_none()) {
            self.tell_reload_ends(outcome.result().is_err().then(|| format!("upgrade: {outcome}")));
        }
        desk::upgraded(outcome.clone());
        self.callbacks.upgraded(outcome);
        Ok(())
    }

    /// This is the image before a failed upgrade, again.
    pub(super) fn returning(&mut self, generation: u64) -> Turn {
        report::info(format_args!(
            "upgrade: this is the program before; whoever is of the other one is replaced by generation {generation}"
        ));
        self.prepare(generation)?;
        if let Some(nursery) = self.nurseries.of(generation) {
            nursery.has_preloaded();
        }
        Ok(())
    }

    /// All that was to be replaced after a failed upgrade is; or not.
    pub(super) fn returned(&mut self, outcome: &Reload) -> Turn {
        match outcome.result() {
            Ok(()) | Err(ReloadFailure::Stopped) => report::info(format_args!("upgrade: back: {outcome}")),
            Err(_) => report::error(format_args!("upgrade: back, but not all workers: {outcome}")),
        }
        self.keep_current()
    }
}

/// Says how many workers there are to be.
pub(super) fn tell_scaled(from: usize, to: usize) {
    match from == to {
        true => report::info(format_args!("scaling to {to} workers: there are as many already")),
        false => report::info(format_args!("scaling from {from} to {to} workers")),
    }
}
