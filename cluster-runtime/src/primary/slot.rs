//! One worker's life, as the primary knows it. Pure.
//!
//! ```text
//! Unborn ─born→ Starting ─online→ Online ─ready→ Ready ─drain→ Draining ─exit→ gone
//!                  └────────────────┴──────────────────────────────┘
//! ```
//!
//! What a worker *is* stands in [`Life`]; that its end was *wanted* stands apart, in `asked`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::step::Fleet;
use crate::event::{Exit, ExitStatus, Reason, Signal, State};
use crate::ipc::message::Wear;

/// A worker's id: counts up from 1, never used again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Id(pub(crate) u64);

/// Gives out ids; shared with whoever may ask for a worker between two steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids(Rc<Cell<u64>>);

impl Ids {
    pub(crate) fn next(&self) -> Id {
        self.0.set(self.0.get() + 1);
        Id(self.0.get())
    }

    /// The last one that was given out; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.0.get()
    }

    /// Goes on after this one.
    pub(super) fn go_on_after(&self, last: u64) {
        self.0.set(last);
    }
}

/// Each with what is true only in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Life {
    /// Asked for. A fork happens at once; a nursery that still preloads takes its time.
    Unborn,
    Starting {
        ready_by: Instant,
    },
    Online {
        ready_by: Instant,
    },
    Ready {
        since: Instant,
    },
    /// To finish: told to, unless its channel ended by itself. `ready` since then, if it ever was.
    Draining {
        kill_at: Instant,
        ready: Option<Instant>,
        told: bool,
    },
    /// SIGKILL was sent: because its time was over, or because everybody's is.
    Killed {
        ready: Option<Instant>,
        overdue: bool,
    },
}

impl Life {
    /// Whether it is on its way out.
    pub(crate) fn is_leaving(self) -> bool {
        matches!(self, Life::Draining { .. } | Life::Killed { .. })
    }
}

/// A worker and what has been seen of it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) slot: usize,
    pub(crate) generation: u64,
    pub(crate) life: Life,
    pub(crate) born: Instant,
    /// Its process was made.
    pub(crate) exists: bool,
    /// Its end was asked for, by either side.
    pub(crate) asked: bool,
    /// By a reload, or since it was worn: another has its slot.
    pub(crate) replaced: bool,
    /// It has given no sign of life in its time, and was told to go for it.
    pub(crate) stalled: bool,
    /// Its code runs.
    pub(crate) online: bool,
    /// Its channel is open.
    pub(crate) connected: bool,
    /// It has finished a connection: it can do its work.
    pub(crate) proven: bool,
    /// It was born when the cluster started.
    pub(crate) first: bool,
    /// What it said last, where that is known.
    pub(crate) said: String,
    /// It has said that it has done enough: when, and why.
    pub(crate) worn: Option<(Instant, Wear)>,
}

/// Being ready for so long is a proof of service too, for a worker that has nothing to serve.
const STEADY: Duration = Duration::from_secs(5);

impl Member {
    pub(crate) fn unborn(slot: usize, generation: u64, first: bool, now: Instant) -> Member {
        Member {
            slot,
            generation,
            life: Life::Unborn,
            born: now,
            exists: false,
            online: false,
            asked: false,
            replaced: false,
            stalled: false,
            connected: true,
            proven: false,
            first,
            said: String::new(),
            worn: None,
        }
    }

    pub(crate) fn state(&self) -> State {
        match self.life {
            _ if !self.connected => State::Disconnected,
            Life::Unborn | Life::Starting { .. } => State::None,
            Life::Online { .. } => State::Online,
            Life::Ready { .. } => State::Listening,
            Life::Draining { .. } | Life::Killed { .. } => State::Disconnecting,
        }
    }

    /// Whether it is ready, and nobody has told it to go.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.life, Life::Ready { .. })
    }

    /// Since when it was ready, if it ever was.
    pub(crate) fn ready(&self) -> Option<Instant> {
        match self.life {
            Life::Ready { since } => Some(since),
            Life::Draining { ready, .. } | Life::Killed { ready, .. } => ready,
            _ => None,
        }
    }

    /// When something must be done about it if nothing is heard of it.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.life {
            Life::Starting { ready_by } | Life::Online { ready_by } => Some(ready_by),
            Life::Draining { kill_at, .. } => Some(kill_at),
            Life::Unborn | Life::Ready { .. } | Life::Killed { .. } => None,
        }
    }

    /// Whether it has shown that it can serve.
    pub(crate) fn has_served(&self, now: Instant) -> bool {
        self.proven || self.ready().is_some_and(|since| now.duration_since(since) >= STEADY)
    }

    /// Its end, explained.
    pub(crate) fn exit(&self, status: ExitStatus, now: Instant) -> Exit {
        let reason = match status {
            _ if self.stalled => Reason::Stalled,
            _ if matches!(self.life, Life::Killed { overdue: true, .. }) => Reason::TimedOut,
            _ if self.replaced => Reason::Replaced,
            _ if self.asked => Reason::Asked,
            // A worker that was sent a SIGTERM drains and exits with 0: that is what the signal is for.
            _ if self.ready().is_none() => Reason::NotStarted,
            ExitStatus::Code(0) => Reason::Finished,
            ExitStatus::Code(_) | ExitStatus::Unknown => Reason::Failed,
            ExitStatus::Signal(_) => Reason::Killed,
        };
        let well = matches!(reason, Reason::Asked | Reason::Replaced | Reason::Finished);
        let said = if well || self.has_served(now) { String::new() } else { self.said.clone() };
        let told = matches!(self.life, Life::Draining { told: true, .. });
        Exit { status, reason, asked: self.asked, told, lived: now.duration_since(self.born), said }
    }

    /// Whether its end says nothing against it: it has served, was told to go, or somebody else killed it.
    pub(crate) fn is_blameless(&self, exit: &Exit, now: Instant) -> bool {
        let killed_from_outside = exit.reason == Reason::Killed && exit.signal() == Some(Signal::KILL);
        let told = exit.told && !self.stalled && exit.code() == Some(0);
        self.has_served(now) || killed_from_outside || told
    }
}

impl Fleet {
    pub(super) fn note_said(&mut self, id: Id, said: String) {
        if let Some(member) = self.members.get_mut(&id) {
            member.said = said;
        }
    }
}
