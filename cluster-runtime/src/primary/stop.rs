//! The end of a worker that is sent a signal, and the cluster's. Pure.

use std::time::Instant;

use super::slot::{Id, Life};
use super::step::{Effect, Failure, Fleet, Phase};
use crate::event::Signal;

impl Fleet {
    pub(super) fn kill(&mut self, id: Id, signal: Signal, now: Instant, out: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let exists = member.exists;
        if !exists && signal == Signal::KILL {
            member.life = Life::Killed { ready: None, overdue: false };
        }
        if signal == Signal::TERM {
            // Not left to the signal alone: a worker that spins must end too.
            self.drain(id, false, now, out);
        }
        if exists {
            out.push(Effect::Signal { id, signal });
        }
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
