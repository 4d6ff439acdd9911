//! Deaths: a worker's, and the cluster's.

use std::io;
use std::time::Instant;

use super::desk::Worker;
use super::slot::Id;
use super::step::{Failure, Input};
use super::{Ending, Hint, Loop, Turn, desk, hub, rows};
use crate::event::{Exit, ExitStatus, Reason, Signal};
use crate::report;
use crate::sys::pidfd::Status;

impl Loop {
    /// A worker's process has ended. First what it said, then its end: the messages of a dying worker arrive before
    /// its exit event. What it had not read is for others, from now on.
    pub(super) fn reap(&mut self, id: Id) -> Turn {
        let Some(child) = self.children.get(&id) else { return Ok(()) };
        let status = match child.reap() {
            Ok(None) => return Ok(()),
            Ok(Some(Status::Code(code))) => ExitStatus::Code(code),
            Ok(Some(Status::Signal(signal))) => {
                Signal::from_raw(signal).map_or(ExitStatus::Unknown, ExitStatus::Signal)
            }
            Err(error) => {
                report::error(format_args!("reaping worker {}: {error}", id.0));
                ExitStatus::Unknown
            }
        };
        // Only now may the pid be another's; and a pidfd stays readable, so it has to go.
        if let Some(child) = self.children.remove(&id) {
            self.epoll.remove(&child)?;
        }
        hub::ignore(id, &self.epoll);
        for packet in hub::last_words(id) {
            self.heard(id, packet)?;
        }
        let said = self.last_output(id)?;
        self.step(Input::Said(id, said))?;
        self.lanes.all_gone(id);
        self.announced.retain(|(worker, _)| *worker != id);
        if let Some(slot) = self.fleet.member(id).map(|member| member.slot) {
            let mut others =
                self.fleet.members().filter(|(other, member)| *other != id && member.slot == slot);
            let successor_is_up = others.any(|(_, member)| member.is_up());
            self.listeners.bereave((slot, id), successor_is_up, Instant::now());
        }
        // Whether the end of the channel or that of the process was seen first, they are told of in this order.
        // What its last words made a callback ask for is known before it is.
        self.obey()?;
        self.step(Input::Closed { id })?;
        self.obey()?;
        self.step(Input::Exited { id, status })?;
        // After `on_exit`, which may ask what it had done.
        rows::close(id);
        // Not before: if this end is the cluster's, whoever waited for it is killed and has nothing to print.
        self.release_held(id)
    }

    pub(super) fn signal(&mut self, id: Id, signal: Signal) {
        let Some(Err(error)) = self.children.get(&id).map(|child| child.signal(signal.as_raw())) else {
            return;
        };
        if error.kind() != io::ErrorKind::PermissionDenied {
            report::error(format_args!("sending {signal} to worker {}: {error}", id.0));
            return;
        }
        if !std::mem::replace(&mut self.told_signals, true) {
            report::error(format_args!(
                "sending {signal} to worker {}: {error}: workers are another user's, and this process is without CAP_KILL. \
                 They are told by their channels alone: one that was to be killed ends within a second, unless it is \
                 stopped; give the primary CAP_KILL",
                id.0
            ));
        }
        if signal == Signal::KILL {
            // At its end a worker ends, whatever its code does.
            hub::close(id);
            desk::order(Input::Closed { id });
        }
    }

    pub(super) fn stop_listening(&mut self) -> Turn {
        let now = Instant::now();
        let until = now + self.settings.drain_timeout;
        self.door.close(&self.listeners, &mut self.lanes, &self.epoll, now, until);
        self.move_connections(now);
        self.nurseries.stop().into_iter().try_for_each(|id| self.not_to_be(id))
    }

    /// Gives connections on to whoever has room. At a stop, until all who were let in have been handed off: then there
    /// will be no more for anybody.
    pub(super) fn move_connections(&mut self, now: Instant) {
        if !self.door.is_closing() {
            self.door.give_out(&self.listeners, &mut self.lanes, &self.epoll, now);
            return;
        }
        let pending = self.door.empty(&self.listeners, &mut self.lanes, &self.epoll, now);
        self.lanes.end_for_good(&pending);
        if pending.is_empty() {
            self.listeners.close();
            self.note_listeners();
        }
    }

    /// How the cluster ended, if it has.
    pub(super) fn ending(&mut self) -> Option<Ending> {
        if !self.fleet.is_over() {
            return None;
        }
        if self.upgrading.check.is_some() || !self.upgrading.abandoned.is_empty() {
            // It was sent a SIGKILL when the stop came.
            return None;
        }
        if !self.nurseries.are_gone() {
            // Its end is waited for, that no zombie is left; and it has been sent a SIGKILL, or is sent one now.
            self.nurseries.stop();
            return None;
        }
        self.move_connections(Instant::now());
        let lost = self.door.lost() + self.lanes.unread();
        if lost > 0 {
            report::error(format_args!(
                "{lost} connections were accepted, and no worker was left to serve them"
            ));
        }
        Some(match (self.preload_failed.take(), self.fleet.end()?) {
            (Some(failed), _) => Ending::Preload(failed),
            (None, Ok(())) => Ending::Asked,
            (None, Err(failure)) => {
                // One that could not be made had no time to ask.
                let unborn = matches!(
                    failure,
                    Failure::NotStarted { exit: Exit { status: ExitStatus::Unknown, .. }, .. }
                );
                let hint = if self.somebody_bound || unborn { Hint::None } else { Hint::NobodyBound };
                Ending::Failed(failure.clone(), hint)
            }
        })
    }
}

/// Says how a worker ended.
pub(super) fn tell_exit(worker: &Worker, exit: &Exit) {
    let (id, slot, pid) = (worker.id(), worker.slot(), worker.pid());
    // One that was sent a SIGTERM has done as it was told, too.
    if matches!(exit.reason(), Reason::Asked | Reason::Replaced) || (exit.told && exit.code() == Some(0)) {
        report::info(format_args!("worker {id} (slot {slot}, pid {pid}) {exit}"));
    } else {
        report::error(format_args!("worker {id} (slot {slot}, pid {pid}) {exit}"));
    }
}
