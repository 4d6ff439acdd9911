//! One generation after another: what a reload needs, and what it leaves behind.

use std::time::Instant;

use super::step::Input;
use super::{Departure, Loop, Turn, desk};
use crate::config::Spawn;
use crate::event::State;
use crate::reload::{Reload, ReloadFailure};
use crate::report;

impl Loop {
    /// A reload begins. With a preload its workers wait for a nursery of their own, and the old one stays until it is
    /// known who wins.
    pub(super) fn reloading(&mut self, generation: u64) -> Turn {
        let surge = self.settings.max_surge;
        report::info(format_args!("reload: generation {generation} begins, {surge} at a time"));
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
        let (current, failed) = (self.fleet.generation(), outcome.generation());
        match outcome.result() {
            Ok(()) | Err(ReloadFailure::Stopped) => report::info(format_args!("reload: {outcome}")),
            Err(_) => {
                let serves = |generation| {
                    let of = self.fleet.members().filter(|(_, member)| member.generation == generation);
                    of.filter(|(_, member)| member.state() == State::Listening).count()
                };
                let (old, new) = (serves(current), serves(failed));
                report::error(format_args!(
                    "reload: {outcome}; {old} workers of generation {current} and {new} of generation {failed} serve on"
                ));
            }
        }
        for id in self.nurseries.keep_only(current, Instant::now()) {
            self.not_to_be(id)?;
        }
        desk::reloaded(outcome.clone());
        self.callbacks.reloaded(outcome);
        Ok(())
    }

    /// Says what becomes of a SIGHUP.
    pub(super) fn tell_reload(&self) {
        match self.fleet.reloading() {
            Some(generation) => {
                report::info(format_args!("SIGHUP: one more reload follows that of generation {generation}"))
            }
            None => report::info(format_args!(
                "SIGHUP: reloading, as soon as no worker is left of a reload before"
            )),
        }
    }
}
