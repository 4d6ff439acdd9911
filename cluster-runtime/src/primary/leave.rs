//! A worker's way out: told to finish, cut off, or signalled. Pure.

use std::time::{Duration, Instant};

use super::slot::{Id, Life, Member};
use super::step::{Effect, Event, Fleet};
use crate::event::Signal;

/// The time a worker has to end by itself when its drain is over, before it is killed.
pub(super) const LAST_GRACE: Duration = Duration::from_millis(500);

impl Fleet {
    pub(super) fn drain(&mut self, id: Id, voluntary: bool, now: Instant, out: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.asked |= voluntary;
        if let Life::Draining { told: true, .. } | Life::Killed { .. } = member.life {
            return;
        }
        let kill_at = now + self.rules.drain_timeout + LAST_GRACE;
        member.life = Life::Draining { kill_at, ready: member.ready(), told: true };
        if member.exists {
            out.push(Effect::Drain { id });
        }
    }

    pub(super) fn closed(&mut self, id: Id, now: Instant, out: &mut Vec<Effect>) {
        let Some(member) = self.heard(id) else { return };
        member.connected = false;
        out.push(Effect::Publish(Event::Disconnect(id)));
        if matches!(member.life, Life::Draining { .. } | Life::Killed { .. }) {
            return;
        }
        // It can't be told anything any more; but its lanes are to end, and it has a drain's time and no more.
        self.drain(id, false, now, out);
        if let Some(Member { life: Life::Draining { told, .. }, .. }) = self.members.get_mut(&id) {
            *told = false;
        }
    }

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
}
