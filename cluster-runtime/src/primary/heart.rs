//! Signs of life, and what follows when there are none. Pure.
//!
//! ```text
//! trusted ─half of the time without a beat→ suspected ─all of it→ stalled: told to leave, killed, replaced
//!    └────────────────────a beat───────────────┘
//! ```
//!
//! Each serving thread beats for its lane, six times in the time it has; one lane without a beat is enough, whatever the
//! others do. A worker without a lane beats for itself. Only a worker that is ready is judged: before that it has its
//! start-up deadline, after it the one of its drain.
//!
//! Beats stand on the board, where the loop looks once in a turn of its own, and before it judges; a worker of a program from
//! before there was one says each by a message.
//!
//! Silence counts only while the primary listens. After a turn of the loop that came late (it was stopped, the machine slept, a
//! callback took long) nobody knows who would have been heard meanwhile, so everybody has all of the time again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::leave::LAST_GRACE;
use super::slot::{Id, Life, Member};
use super::step::{Effect, Fleet};
use crate::event::Signal;
use crate::ipc::message::LaneId;

pub(crate) mod saved;

/// How often the loop takes a turn within the time, events or not, and looks who has beaten: so often that whoever beats as it
/// should, and was looked at in each, is never judged.
const TURNS: u32 = 5;

/// Which part of the time without a turn is late. With that of one beat it is less than half of the time.
const LATE: u32 = 4;

/// A stalled worker may still come to itself, and finish; but its time was long.
const STALL_GRACE: Duration = Duration::from_secs(5);

/// What is heard of a worker's health.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sign {
    /// A serving thread lives, or, without a lane, the runtime of the body. `every` so long, as it says; nothing if it
    /// is the primary that opens the lane.
    Beat { lane: Option<LaneId>, every: Duration },
    /// It lived so long ago, as the board says.
    Seen { lane: Option<LaneId>, ago: Duration },
    /// No more beats will come, and none are waited for.
    Over { lane: Option<LaneId> },
}

/// What is made of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Finding {
    /// Nothing is for it, until it is trusted again; what it has not read is for others.
    Suspected {
        silent: Duration,
    },
    Trusted,
    /// Say what it does, before it is told to leave; in so long it is killed.
    Stalled {
        silent: Duration,
        grace: Duration,
    },
}

/// All workers of which a sign of life was ever heard.
#[derive(Debug, Default)]
pub(super) struct Hearts {
    hearts: BTreeMap<Id, Heart>,
    /// When the loop last took a turn: what has happened since then may be unread.
    attended: Option<Instant>,
    /// When it last looked who has beaten.
    looked: Option<Instant>,
    /// When the first of those that are judged is to be, as of the last step: not later than it is, since whoever is heard, or
    /// given more time, meanwhile is judged later.
    first: Option<Instant>,
}

#[derive(Debug, Default)]
struct Heart {
    lanes: BTreeMap<LaneId, Pulse>,
    /// Of a worker that need not have a lane. It counts while there is none.
    own: Option<Pulse>,
    suspected: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pulse {
    last: Instant,
    /// After so long without a beat it has stopped.
    within: Duration,
}

impl Pulse {
    fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last)
    }
}

impl Heart {
    fn pulses(&self) -> impl Iterator<Item = &Pulse> {
        self.lanes.values().chain(self.own.as_ref().filter(|_| self.lanes.is_empty()))
    }

    fn pulses_mut(&mut self) -> impl Iterator<Item = &mut Pulse> {
        self.lanes.values_mut().chain(&mut self.own)
    }

    /// How long nothing was heard of the thread that is silent for the longest.
    fn silent(&self, now: Instant) -> Option<Duration> {
        self.pulses().map(|pulse| pulse.silent(now)).max()
    }

    fn has_stopped(&self, now: Instant) -> bool {
        self.pulses().any(|pulse| pulse.silent(now) >= pulse.within)
    }

    fn falters(&self, now: Instant) -> bool {
        self.pulses().any(|pulse| pulse.silent(now) >= pulse.within / 2)
    }

    /// When something follows if nothing is heard.
    fn deadline(&self) -> Option<Instant> {
        let part = if self.suspected { 1 } else { 2 };
        self.pulses().map(|pulse| pulse.last + pulse.within / part).min()
    }
}

impl Fleet {
    /// For how long nothing was heard of a worker: of the one of its serving threads that is silent for the longest.
    /// `None` where none is to be heard.
    pub(crate) fn last_beat(&self, id: Id, now: Instant) -> Option<Duration> {
        self.hearts.hearts.get(&id)?.silent(now)
    }

    /// How long a worker that is told to leave may take.
    pub(crate) fn time_to_drain(&self, id: Id) -> Duration {
        let stalled = self.members.get(&id).is_some_and(|member| member.stalled);
        if stalled { self.stall_grace() } else { self.rules.drain_timeout }
    }

    fn stall_grace(&self) -> Duration {
        self.rules.drain_timeout.min(STALL_GRACE)
    }

    /// A turn of the loop: everything that was there to be read when it began has been read once.
    pub(crate) fn attend(&mut self, now: Instant) {
        let Some(within) = self.rules.heartbeat else { return };
        let before = self.hearts.attended.replace(now);
        if before.is_some_and(|before| now.saturating_duration_since(before) > within / LATE) {
            let pulses = self.hearts.hearts.values_mut().flat_map(Heart::pulses_mut);
            pulses.for_each(|pulse| pulse.last = now);
        }
    }

    /// Whether the board is to be looked at in this turn, in which these are about to be judged.
    pub(crate) fn is_to_look(&mut self, silent: &[Id], now: Instant) -> bool {
        let Some(within) = self.rules.heartbeat else { return false };
        let looked = self.hearts.looked;
        let due = !silent.is_empty()
            || looked.is_none_or(|looked| now.saturating_duration_since(looked) >= within / TURNS);
        if due {
            self.hearts.looked = Some(now);
        }
        due
    }

    /// What it says, of all workers.
    pub(crate) fn look(&mut self, beats: Vec<(Id, Option<LaneId>, Duration)>, now: Instant) -> Vec<Effect> {
        let mut out = Vec::new();
        for (id, lane, ago) in beats {
            self.sign(id, Sign::Seen { lane, ago }, now, &mut out);
        }
        self.look_ahead_at_hearts();
        out
    }

    /// Who is about to be judged, as of the last turn. What they have said meanwhile is to be read before.
    pub(crate) fn silent(&self) -> Vec<Id> {
        let Some(now) = self.hearts.attended else { return Vec::new() };
        if self.hearts.first.is_none_or(|first| first > now) {
            return Vec::new();
        }
        let due = |heart: &Heart| heart.deadline().is_some_and(|at| at <= now);
        self.judged().filter(|(_, heart)| due(heart)).map(|(id, _)| id).collect()
    }

    /// When somebody is to be judged, or the loop to take a turn.
    pub(super) fn heart_deadline(&self) -> Option<Instant> {
        let within = self.rules.heartbeat?;
        let first = self.hearts.first?;
        let turn = self.hearts.attended.map(|attended| attended + within / TURNS);
        Some(turn.map_or(first, |turn| turn.min(first)))
    }

    pub(super) fn look_ahead_at_hearts(&mut self) {
        self.hearts.first = self.judged().filter_map(|(_, heart)| heart.deadline()).min();
    }

    /// Only those that are up: others have another deadline.
    fn judged(&self) -> impl Iterator<Item = (Id, &Heart)> {
        let up = |id: &Id| self.members.get(id).is_some_and(Member::is_up);
        self.hearts.hearts.iter().filter(move |(id, _)| up(id)).map(|(id, heart)| (*id, heart))
    }

    pub(super) fn sign(&mut self, id: Id, sign: Sign, now: Instant, out: &mut Vec<Effect>) {
        let Some(within) = self.rules.heartbeat else { return };
        if self.members.get(&id).is_none_or(|member| member.life.is_leaving()) {
            return;
        }
        if let Sign::Seen { lane, ago } = sign {
            let Some(heart) = self.hearts.hearts.get_mut(&id) else { return };
            let pulse = match lane {
                Some(lane) => heart.lanes.get_mut(&lane),
                None => heart.own.as_mut(),
            };
            let (Some(pulse), Some(at)) = (pulse, now.checked_sub(ago)) else { return };
            // Since the primary stood still, or was told by a message, it may have more time than that.
            pulse.last = pulse.last.max(at);
        }
        let heart = self.hearts.hearts.entry(id).or_default();
        match sign {
            Sign::Seen { .. } => {}
            Sign::Beat { lane, every } => {
                // One that was born under other rules keeps its pace.
                let pulse = Pulse { last: now, within: within.max(every.saturating_mul(6)) };
                let known = match lane {
                    Some(lane) => heart.lanes.insert(lane, pulse).is_some(),
                    None => heart.own.replace(pulse).is_some(),
                };
                if heart.suspected && !known {
                    // Nothing is for the new lane either.
                    let silent = heart.silent(now).unwrap_or_default();
                    out.push(Effect::Found(id, Finding::Suspected { silent }));
                }
            }
            Sign::Over { lane: Some(lane) } => {
                heart.lanes.remove(&lane);
                // From now on it may be that which counts.
                if let Some(own) = &mut heart.own {
                    own.last = own.last.max(now);
                }
            }
            Sign::Over { lane: None } => heart.own = None,
        }
        if heart.suspected && !heart.falters(now) {
            heart.suspected = false;
            out.push(Effect::Found(id, Finding::Trusted));
        }
    }

    /// What it beats on the board, for these lanes and for itself, can't be seen: nothing of that is waited for.
    pub(crate) fn is_not_seen(&mut self, id: Id, lanes: &[LaneId]) {
        if let Some(heart) = self.hearts.hearts.get_mut(&id) {
            heart.own = None;
            heart.lanes.retain(|lane, _| !lanes.contains(lane));
        }
    }

    /// Nothing is to be heard of it any more.
    pub(super) fn heart_gone(&mut self, id: Id) {
        self.hearts.hearts.remove(&id);
    }

    /// Judges everybody as of the last turn of the loop: later beats may be unread.
    pub(super) fn judge(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Some(attended) = self.hearts.attended else { return };
        for id in self.silent() {
            let silent = self.last_beat(id, attended).unwrap_or_default();
            let Some(heart) = self.hearts.hearts.get_mut(&id) else { continue };
            if heart.has_stopped(attended) {
                self.stalled(id, silent, now, out);
            } else if !std::mem::replace(&mut heart.suspected, true) {
                out.push(Effect::Found(id, Finding::Suspected { silent }));
            }
        }
    }

    fn stalled(&mut self, id: Id, silent: Duration, now: Instant, out: &mut Vec<Effect>) {
        let grace = self.stall_grace();
        let Some(member) = self.members.get_mut(&id) else { return };
        member.stalled = true;
        out.push(Effect::Found(id, Finding::Stalled { silent, grace }));
        out.push(Effect::Signal { id, signal: Signal::TERM });
        self.drain(id, false, now, out);
        if let Some(Member { life: Life::Draining { kill_at, .. }, .. }) = self.members.get_mut(&id) {
            *kill_at = now + grace + LAST_GRACE;
        }
    }
}

#[cfg(test)]
#[path = "heart_board_tests.rs"]
mod board_tests;
#[cfg(test)]
#[path = "heart_tests.rs"]
mod tests;
