//! What is done about what happens. Pure: no system call, no clock.
//!
//! Everything that can happen to the fleet is an [`Input`], everything that can be done about it an [`Effect`],
//! and [`Fleet::step`] alone decides.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::heart::{Finding, Hearts, Sign};
use super::reload::Reloads;
pub(crate) use super::slot::Ids;
use super::slot::{Id, Life, Member};
pub(crate) use super::stop::Failure;
pub(super) use super::stop::Phase;
use super::supervise::{self, Deaths, Streak};
use super::upgrade::Upgrades;
use crate::config::{Restart, Settings};
use crate::event::{Exit, ExitStatus, Signal};
use crate::ipc::message::Wear;
use crate::reload::Reload;
use crate::upgrade::{Upgrade, UpgradeFailure};

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// The cluster begins, with this many workers.
    Start {
        workers: usize,
    },
    /// A callback wants one more; its id has been given out.
    Fork {
        id: Id,
    },
    /// The process exists.
    Born {
        id: Id,
    },
    /// The process could not be made.
    Unborn {
        id: Id,
    },
    Online {
        id: Id,
    },
    /// It takes connections, or has said that it is ready.
    Ready {
        id: Id,
    },
    /// It has finished its first connection.
    Proven {
        id: Id,
    },
    /// It wants to leave.
    Leave {
        id: Id,
        voluntary: bool,
    },
    /// Its channel ended.
    Closed {
        id: Id,
    },
    /// What it printed last to its standard error, before its end.
    Said(Id, String),
    /// It is gone, and all it said before has been read. Its channel has ended before.
    Exited {
        id: Id,
        status: ExitStatus,
    },
    /// A callback wants it to leave.
    Disconnect {
        id: Id,
    },
    /// A callback sends it a signal.
    Kill {
        id: Id,
        signal: Signal,
    },
    /// It has done enough, as it says itself.
    Worn {
        id: Id,
        why: Wear,
    },
    /// There are to be so many.
    Scale {
        workers: usize,
    },
    /// All workers are to be replaced by new ones.
    Reload,
    /// There will be no births of this generation.
    Barren {
        generation: u64,
        why: String,
    },
    /// The program on disk is to take over.
    Upgrade,
    /// What that program said to it, or why it said nothing.
    Checked(Result<(), String>),
    /// Nothing is half done, and nothing on the tray. Told where [`Fleet::awaits_quiet`], between two turns of the loop:
    /// what else an exec would cut off is lost.
    Quiet,
    /// The exec that was asked for, in whichever direction, has failed.
    NotExeced(String),
    /// The fleet was saved by another image, and lives on in this one.
    Resume,
    /// The cluster is to end, gracefully; asked a second time, now.
    Stop {
        signal: Option<Signal>,
    },
    /// The cluster is to end now.
    StopNow {
        signal: Signal,
    },
    /// It lives; or is no more to be asked whether it does.
    Sign(Id, Sign),
    /// A deadline may have passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    Spawn {
        id: Id,
        slot: usize,
        generation: u64,
    },
    /// Tell it to finish, and end its lanes.
    Drain {
        id: Id,
    },
    /// Tell it that the cluster is about to stop, and that it serves on until then.
    Foretell {
        id: Id,
    },
    Signal {
        id: Id,
        signal: Signal,
    },
    Publish(Event),
    /// Its health is another.
    Found(Id, Finding),
    /// Accept what has come, and no more.
    StopListening,
    /// Say that the slot is filled again only after a while.
    Throttled {
        slot: usize,
        delay: Duration,
    },
    /// Births of this generation will be asked for: let there be what it needs.
    Reloading {
        generation: u64,
    },
    /// Say how it ended.
    Reloaded(Reload),
    /// Say that a worker is worn, and who is to take its place.
    Recycling {
        id: Id,
        by: Id,
        why: Wear,
    },
    /// Say that it serves on: who was to take its place did not come up, and another is sent after a while.
    NotRecycled {
        id: Id,
        delay: Duration,
    },
    /// Say how many there are to be.
    Scaled {
        from: usize,
        to: usize,
    },
    /// A birth that was not asked for yet is not wanted any more.
    NotToBe {
        id: Id,
    },
    /// Ask the program on disk whether it can take over.
    Check,
    /// Execute it, with the fleet as it is now.
    Exec,
    /// This is the new image, and its workers come: let there be what they need.
    Proving {
        generation: u64,
    },
    /// No births of this generation any more: those that were not asked for yet are not to be.
    Retire {
        generation: u64,
    },
    /// Execute the image before, with the fleet as it is now.
    GoBack {
        why: UpgradeFailure,
    },
    /// Say how it ended, and let go of what was kept for it.
    Upgraded(Upgrade),
    /// This is the image before again, and its workers come.
    Returning {
        generation: u64,
    },
    /// Say how that ended.
    Returned(Reload),
}

/// What a user hears of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Fork(Id),
    Online(Id),
    Disconnect(Id),
    Exit(Id, Exit),
}

/// The rules of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) restart: Restart,
    pub(crate) max_restarts: u32,
    pub(crate) restart_window: Duration,
    pub(crate) startup_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    /// How long it all goes on when it was told to stop.
    pub(crate) pre_drain: Duration,
    /// How long a thread may be silent; for ever, where nothing is said.
    pub(crate) heartbeat: Option<Duration>,
    /// How many replacements may come at once.
    pub(crate) max_surge: usize,
    /// Workers that are older are worn.
    pub(crate) max_age: Option<Duration>,
}

impl Rules {
    pub(crate) fn of(settings: &Settings) -> Rules {
        Rules {
            restart: settings.restart,
            max_restarts: settings.max_restarts(),
            restart_window: settings.restart_window,
            startup_timeout: settings.startup_timeout,
            drain_timeout: settings.drain_timeout,
            pre_drain: settings.pre_drain,
            heartbeat: settings.heartbeat(),
            max_surge: settings.max_surge,
            max_age: settings.max_age,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) holder: Option<Id>,
    pub(super) refill_at: Option<Instant>,
    /// No replacement of its holder before: the last one did not come up.
    pub(super) recycle_at: Option<Instant>,
    pub(super) streak: Streak,
}

/// All workers, and what is to become of them.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(super) rules: Rules,
    pub(super) ids: Ids,
    pub(super) slots: Vec<Slot>,
    pub(super) members: BTreeMap<Id, Member>,
    /// How many places are filled, or are to be.
    pub(super) target: usize,
    /// When somebody will be worn who is not yet, as of the last step.
    pub(super) worn_at: Option<Instant>,
    /// When something is to be done, as of the last step, signs of life apart: nothing of it changes between two steps, and
    /// there are many turns of the loop.
    pub(super) due_at: Option<Instant>,
    pub(super) deaths: Deaths,
    pub(super) hearts: Hearts,
    pub(super) reloads: Reloads,
    pub(super) upgrades: Upgrades,
    /// How many workers the settings name.
    pub(super) configured: usize,
    pub(super) phase: Phase,
    /// A signal has asked for the stop: the next one means more haste.
    pub(super) signalled: bool,
    /// Somebody was ready once: from then on an end is a worker's own and not the program's.
    pub(super) has_served: bool,
    pub(super) failure: Option<Failure>,
}

impl Fleet {
    pub(crate) fn new(rules: Rules, ids: Ids) -> Fleet {
        Fleet {
            rules,
            ids,
            slots: Vec::new(),
            members: BTreeMap::new(),
            target: 0,
            worn_at: None,
            due_at: None,
            deaths: Deaths::default(),
            hearts: Hearts::default(),
            reloads: Reloads::default(),
            upgrades: Upgrades::default(),
            configured: 0,
            phase: Phase::Running,
            signalled: false,
            has_served: false,
            failure: None,
        }
    }

    pub(crate) fn member(&self, id: Id) -> Option<&Member> {
        self.members.get(&id)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (Id, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    /// Whether everybody was told to go: not in the time before the drain.
    pub(crate) fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping | Phase::StoppingNow)
    }

    /// Whether somebody was ever ready.
    pub(crate) fn has_served(&self) -> bool {
        self.has_served
    }

    /// Whether the next signal to stop means now.
    pub(crate) fn was_signalled(&self) -> bool {
        self.signalled && self.is_stopping()
    }

    /// The next moment at which [`Input::Tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due_at.into_iter().chain(self.heart_deadline()).min()
    }

    /// Whether the cluster has ended: nobody is left and nobody is to come.
    pub(crate) fn is_over(&self) -> bool {
        self.members.is_empty() && self.slots.iter().all(|slot| slot.refill_at.is_none())
    }

    /// How it ended, if it has. `Err` says why, unless it was asked to.
    pub(crate) fn end(&self) -> Option<Result<(), &Failure>> {
        self.is_over().then(|| self.failure.as_ref().map_or(Ok(()), Err))
    }

    #[must_use = "effects are to be performed, in their order"]
    pub(crate) fn step(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        let mut out = Vec::new();
        match input {
            Input::Start { workers } => self.start(workers, now, &mut out),
            Input::Fork { id } if !self.is_stopping() => self.fork(id, false, now, &mut out),
            Input::Fork { .. } => {}
            Input::Born { id } => self.born(id, now, &mut out),
            Input::Unborn { id } => self.gone(id, ExitStatus::Unknown, now, &mut out),
            Input::Online { id } => self.online(id, &mut out),
            Input::Ready { id } => self.ready(id, now, &mut out),
            Input::Proven { id } => self.proven(id),
            Input::Leave { id, voluntary } => self.drain(id, voluntary, now, &mut out),
            Input::Disconnect { id } => self.drain(id, true, now, &mut out),
            Input::Closed { id } => self.closed(id, now, &mut out),
            Input::Said(id, said) => self.note_said(id, said),
            Input::Exited { id, status } => self.gone(id, status, now, &mut out),
            Input::Kill { id, signal } => self.kill(id, signal, now, &mut out),
            Input::Worn { id, why } => self.worn(id, why, now),
            Input::Scale { workers } => self.scale(workers, now, &mut out),
            Input::Reload => self.want_reload(),
            Input::Barren { generation, why } => self.barren(generation, why, now, &mut out),
            Input::Upgrade => self.want_upgrade(now, &mut out),
            Input::Checked(answer) => self.checked(answer, now, &mut out),
            Input::Quiet => self.quiet(&mut out),
            Input::NotExeced(why) => self.not_executed(why, now, &mut out),
            Input::Resume => self.resume(now, &mut out),
            Input::Stop { signal } => self.told_to_stop(signal, now, &mut out),
            Input::StopNow { signal } => self.stop_now(signal, &mut out),
            Input::Sign(id, sign) => self.sign(id, sign, now, &mut out),
            Input::Tick => self.tick(now, &mut out),
        }
        self.roll(now, &mut out);
        self.recycle(now, &mut out);
        self.count();
        self.look_ahead();
        out
    }

    /// A member that something may be heard of: its process was made, and its channel has not ended.
    pub(super) fn heard(&mut self, id: Id) -> Option<&mut Member> {
        self.members.get_mut(&id).filter(|member| member.exists && member.connected)
    }

    fn born(&mut self, id: Id, now: Instant, out: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(&id).filter(|member| !member.exists) else { return };
        member.born = now;
        member.exists = true;
        out.push(Effect::Publish(Event::Fork(id)));
        match member.life {
            Life::Unborn => {
                member.life = Life::Starting { ready_by: now + self.rules.startup_timeout };
                if self.is_told_to_stop() {
                    out.push(Effect::Foretell { id });
                }
            }
            // It was told to leave before it was born: nobody was there to hear it.
            Life::Draining { .. } => out.push(Effect::Drain { id }),
            // Likewise.
            Life::Killed { .. } => out.push(Effect::Signal { id, signal: Signal::KILL }),
            Life::Starting { .. } | Life::Online { .. } | Life::Ready { .. } => {}
        }
    }

    fn online(&mut self, id: Id, out: &mut Vec<Effect>) {
        let Some(member) = self.heard(id) else { return };
        if let Life::Starting { ready_by } = member.life {
            member.life = Life::Online { ready_by };
        }
        if std::mem::replace(&mut member.online, true) {
            return;
        }
        out.push(Effect::Publish(Event::Online(id)));
    }

    fn ready(&mut self, id: Id, now: Instant, out: &mut Vec<Effect>) {
        let Some(member) = self.heard(id) else { return };
        if let Life::Starting { .. } | Life::Online { .. } = member.life {
            member.life = Life::Ready { since: now };
            self.has_served = true;
            self.take_over(id, now, out);
        }
    }

    fn proven(&mut self, id: Id) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.proven = true;
        self.slots[member.slot].streak.reset();
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.pre_drain_end().is_some_and(|until| until <= now) {
            self.stop(now, out);
        }
        for (id, member) in &mut self.members {
            if member.deadline().is_some_and(|deadline| deadline <= now) {
                member.life = Life::Killed { ready: member.ready(), overdue: true };
                if member.exists {
                    out.push(Effect::Signal { id: *id, signal: Signal::KILL });
                }
            }
        }
        self.tick_upgrade(now, out);
        self.refill(now, out);
        self.judge(now, out);
    }

    fn gone(&mut self, id: Id, status: ExitStatus, now: Instant, out: &mut Vec<Effect>) {
        let Some(member) = self.members.remove(&id) else { return };
        self.heart_gone(id);
        let exit = member.exit(status, now);
        let held = self.slots[member.slot].holder.take_if(|holder| *holder == id).is_some();
        if member.exists {
            out.push(Effect::Publish(Event::Exit(id, exit.clone())));
        }
        if self.is_stopping() {
            return;
        }
        self.gone_of(id, &member, &exit, now, out);
        if !held {
            // One that was replaced, or was to replace: the slot is another's.
            return;
        }
        let respawned = supervise::is_respawned(self.rules.restart, &exit);
        if self.phase == Phase::Running && !respawned && !exit.asked && exit.code() != Some(0) {
            // Told only if nobody is left in the end.
            self.failure = Some(Failure::NobodyLeft { exit: exit.clone() });
        }
        // Nothing would be better the second time: a port in use stays in use.
        let unfit = member.first && !self.has_served && !exit.asked;
        if unfit && (respawned || exit.code() != Some(0)) {
            self.failure = Some(Failure::NotStarted { id, exit });
            self.kill_everybody(out);
            return;
        }
        if !respawned {
            return;
        }
        let slot = &mut self.slots[member.slot];
        let mut delay = Duration::ZERO;
        if member.is_blameless(&exit, now) {
            if member.has_served(now) {
                slot.streak.reset();
            }
        } else {
            delay = slot.streak.lengthen(id.0);
            // A birth that failed says something of this process and nothing of the worker.
            if member.exists && self.deaths.add(now, self.rules.max_restarts, self.rules.restart_window) {
                self.failure = Some(Failure::GaveUp { deaths: self.rules.max_restarts + 1, exit });
                self.stop(now, out);
                return;
            }
        }
        if delay.is_zero() {
            let id = self.ids.next();
            let generation = self.reloads.after(&member);
            self.fill(id, Member::unborn(member.slot, generation, false, now), out);
        } else {
            slot.refill_at = Some(now + delay);
            out.push(Effect::Throttled { slot: member.slot, delay });
        }
    }
}

#[cfg(test)]
#[path = "storm_tests.rs"]
mod storm_tests;
#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
