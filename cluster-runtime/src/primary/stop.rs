//! The cluster's end. Pure.

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
    Stopping,
    /// Everybody was sent SIGKILL.
    StoppingNow,
}

impl Fleet {
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
        if self.phase == Phase::Running {
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
