//! The cluster's end. Pure.
//!
//! ```text
//! told to stop ─▶ pre_drain: all goes on ─▶ the drain ─▶ over
//!                  └─── a signal more ──────▶ └─ a signal more ─▶ now: everybody is killed
//! ```
//!
//! Without `pre_drain`, and where nobody was ever ready, it begins with the drain.

use std::time::Instant;

use super::slot::{Id, Life};
use super::step::{Effect, Fleet};
use crate::event::{Exit, Signal};

/// Why the cluster ended other than by being asked to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    /// Nobody of the first generation was ever ready.
    NotStarted { id: Id, exit: Exit },
    /// Too many unproven deaths within the window.
    GaveUp { deaths: u32, exit: Exit },
    /// It was told to stop at once.
    Stopped { signal: Signal },
    /// Nobody is left, and this one did not end well.
    NobodyLeft { exit: Exit },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    Running,
    /// Told to stop: all goes on until then, but for reloads.
    PreDrain {
        until: Instant,
    },
    Stopping,
    /// Everybody was sent SIGKILL.
    StoppingNow,
}

impl Fleet {
    /// Whether it was told to stop, in whatever way; workers that serve may yet do so for a while.
    pub(crate) fn is_told_to_stop(&self) -> bool {
        self.phase != Phase::Running
    }

    /// When the drain begins that is to come.
    pub(crate) fn pre_drain_end(&self) -> Option<Instant> {
        match self.phase {
            Phase::PreDrain { until } => Some(until),
            _ => None,
        }
    }

    /// By a signal, or by a callback.
    pub(super) fn told_to_stop(&mut self, signal: Option<Signal>, now: Instant, out: &mut Vec<Effect>) {
        let signalled_before = self.signalled;
        self.signalled |= signal.is_some();
        match (self.phase, signal) {
            (Phase::Running, _) => {
                self.failure = None;
                if self.rules.pre_drain.is_zero() || !self.has_served {
                    self.stop(now, out);
                } else {
                    self.foretell(now, out);
                }
            }
            // Only a second signal means haste: what asked before may have been a callback of the first.
            (Phase::PreDrain { .. }, Some(_)) if signalled_before => self.stop(now, out),
            (Phase::Stopping | Phase::StoppingNow, Some(signal)) if signalled_before => {
                self.stop_now(signal, out);
            }
            _ => {}
        }
    }

    fn foretell(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.phase = Phase::PreDrain { until: now + self.rules.pre_drain };
        let hear = self.members.iter().filter(|(_, member)| member.exists && member.connected);
        out.extend(hear.map(|(id, _)| Effect::Foretell { id: *id }));
    }

    pub(super) fn stop(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.phase = Phase::Stopping;
        out.push(Effect::StopListening);
        for slot in &mut self.slots {
            slot.refill_at = None;
        }
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            self.drain(id, true, now, out);
        }
    }

    pub(super) fn stop_now(&mut self, signal: Signal, out: &mut Vec<Effect>) {
        if self.phase == Phase::StoppingNow {
            return;
        }
        if self.phase == Phase::Running {
            // What would be told if nobody were left.
            self.failure = None;
        }
        self.failure.get_or_insert(Failure::Stopped { signal });
        self.kill_everybody(out);
    }

    pub(super) fn kill_everybody(&mut self, out: &mut Vec<Effect>) {
        if !self.is_stopping() {
            out.push(Effect::StopListening);
        }
        self.phase = Phase::StoppingNow;
        for slot in &mut self.slots {
            slot.refill_at = None;
        }
        for (id, member) in &mut self.members {
            member.asked = true;
            member.life = Life::Killed { ready: member.ready(), overdue: false };
            if member.exists {
                out.push(Effect::Signal { id: *id, signal: Signal::KILL });
            }
        }
    }
}

#[cfg(test)]
#[path = "stop_tests.rs"]
mod tests;
