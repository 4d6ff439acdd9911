//! Births, by fork, by exec or by the nursery, and the nursery's own.

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use super::nursery::{Answer, Failed, Nursery, Start};
use super::output::Ends;
use super::slot::Id;
use super::step::Input;
use super::{Departure, Loop, Newborn, Offspring, Source, Turn, ask, desk, hub, rows};
use crate::config::Spawn;
use crate::ipc::birth;
use crate::report;
use crate::sys::epoll::Interest;
use crate::sys::fork::{self, Birth};
use crate::sys::pidfd::Child;
use crate::sys::{exec, process, scm};

/// How the next worker comes into being.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Fork,
    Nursery,
    Exec,
}

impl Loop {
    pub(super) fn spawn(&mut self, id: Id, slot: usize, generation: u64) -> Turn {
        if self.fleet.member(id).is_none_or(|member| member.asked) {
            // Asked for before a stop, or a reload's failure, in the same breath.
            return self.not_to_be(id);
        }
        if let Some(fork) = desk::fork_of(id) {
            self.forks.insert(slot, fork);
        }
        let fork = self.settings.fork.with(self.forks.get(&slot));
        let (ours, theirs) = match fork.check().and_then(|()| scm::stream_pair()) {
            Ok(pair) => pair,
            Err(error) => return self.unborn(id, &error),
        };
        let beside = self.fleet.holder(slot) != Some(id);
        let output = match self.outputs.open(id, beside) {
            Ok(output) => output,
            Err(error) => return self.unborn(id, &error),
        };
        let way = if fork.needs_exec() { Way::Exec } else { self.way(generation)? };
        let (primary, board) = (std::process::id(), rows::open(id));
        let newborn = Newborn { id: id.0, slot, generation, channel: theirs, board, primary, fork, output };
        match way {
            Way::Fork => self.fork(id, ours, newborn),
            Way::Exec => self.exec(id, ours, newborn),
            Way::Nursery => {
                let Some(nursery) = self.nurseries.of(generation) else { return self.not_to_be(id) };
                hub::open(id, ours);
                match nursery.spawn(newborn, Instant::now()) {
                    Ok(()) => Ok(()),
                    Err(error) => self.unborn(id, &error),
                }
            }
        }
    }

    /// Starts the nursery where it is needed and is not there.
    fn way(&mut self, generation: u64) -> Turn<Way> {
        if self.settings.spawn == Spawn::Exec {
            return Ok(Way::Exec);
        }
        if self.preloads.is_some() {
            if self.nurseries.are_idle(generation) {
                self.try_nursery(generation, Instant::now())?;
            }
            return Ok(if self.nurseries.are_idle(generation) { Way::Exec } else { Way::Nursery });
        }
        Ok(if self.can_fork()? { Way::Fork } else { Way::Exec })
    }

    /// Whether a fork is sound now. Whatever is in the way is told of once.
    fn can_fork(&mut self) -> io::Result<bool> {
        let Err(why) = fork::single_threaded() else { return Ok(true) };
        if !std::mem::replace(&mut self.told_threads, true) {
            report::warn(format_args!("{why}. Until then workers are started by exec (spawn = \"exec\")"));
        }
        Ok(false)
    }

    fn fork(&mut self, id: Id, ours: OwnedFd, newborn: Newborn) -> Turn {
        match fork::fork() {
            Ok(Birth::Child) => Err(Departure::Born(Offspring::Worker(newborn))),
            Ok(Birth::Parent { child }) => {
                drop(newborn);
                hub::open(id, ours);
                self.born(id, child)
            }
            Err(error) => self.unborn(id, &error),
        }
    }

    fn exec(&mut self, id: Id, ours: OwnedFd, newborn: Newborn) -> Turn {
        let Newborn { id: _, slot, generation, channel, board, primary, fork, output } = newborn;
        let told = process::name()
            .map(|name| birth::Birth { id: id.0, slot, generation, primary, name })
            .and_then(|birth| birth::tell(&ours, &birth, board.as_ref().map(AsFd::as_fd)));
        let mut program = exec::this_program(fork.own_args());
        fork.hand_to(&mut program);
        if let Some(Ends { out, err }) = output {
            program.stdout(out).stderr(err);
        }
        match told
            .and_then(|()| exec::spawn(program, channel.as_fd(), self.credentials.clone(), &self.signals))
        {
            Ok(child) => {
                hub::open(id, ours);
                self.born(id, child)
            }
            Err(error) => {
                let user = self.settings.told_user();
                self.unborn(id, &format_args!("by exec of this program: {user}{error}"))
            }
        }
    }

    fn born(&mut self, id: Id, pid: u32) -> Turn {
        if self.fleet.member(id).is_none() {
            // The cluster stopped while the nursery was at it.
            Child::end(pid);
            rows::close(id);
            return Ok(self.outputs.close(id, &self.epoll)?);
        }
        let watched = Child::or_end(pid).and_then(|child| {
            let added = self
                .epoll
                .add(&child, Source::Child(id).name(), Interest::End)
                .and_then(|()| hub::attend(id, &self.epoll, Source::Channel(id).name()));
            match added {
                Ok(()) => Ok(child),
                Err(error) => child.end_now().and(Err(error)),
            }
        });
        match watched {
            Ok(child) => {
                self.children.insert(id, child);
                self.outputs.attend(id);
                desk::born(id, pid);
                self.step(Input::Born { id })
            }
            Err(error) => self.unborn(id, &error),
        }
    }

    pub(super) fn unborn(&mut self, id: Id, why: &dyn Display) -> Turn {
        report::error(format_args!("starting worker {}: {why}", id.0));
        hub::close(id);
        rows::close(id);
        ask::closed(id);
        self.outputs.close(id, &self.epoll)?;
        desk::forget(id);
        self.step(Input::Unborn { id })
    }

    /// A birth that was asked for is not wanted any more.
    pub(super) fn not_to_be(&mut self, id: Id) -> Turn {
        hub::close(id);
        rows::close(id);
        ask::closed(id);
        self.outputs.close(id, &self.epoll)?;
        desk::forget(id);
        self.step(Input::Unborn { id })
    }

    /// Where it can't be forked there is none, and what it was asked for is born by exec.
    pub(super) fn start_nursery(&mut self, generation: u64) -> Turn {
        let can_fork = self.can_fork()?;
        let (has_served, reloading) = (self.fleet.has_served(), self.fleet.reloading());
        let nursery = self.nurseries.add(generation);
        if has_served && reloading != Some(generation) {
            // In an image that has taken over, it is the first of its generation, and not the first that there is: if it fails,
            // that is no reason to end those who serve.
            nursery.has_preloaded();
        }
        if !can_fork {
            for (id, slot) in nursery.forgo() {
                self.spawn(id, slot, generation)?;
            }
            return Ok(());
        }
        match nursery.start(self.settings.startup_timeout, Instant::now())? {
            Start::Nursery(cradle) => return Err(Departure::Born(Offspring::Nursery(cradle))),
            Start::Primary => {}
        }
        // One that nobody hears or reaps would be lost.
        Ok(nursery.watch(&self.epoll).inspect_err(|_| nursery.give_up())?)
    }

    pub(super) fn nursery_answered(&mut self, generation: u64) -> Turn {
        let Some(nursery) = self.nurseries.of(generation) else { return Ok(()) };
        match nursery.hear(Instant::now()) {
            Some(answer) => self.answered(answer),
            None if nursery.is_to_be_reaped(Instant::now()) => self.nursery_died(generation),
            None => Ok(nursery.unhear_deaf(&self.epoll)?),
        }
    }

    fn answered(&mut self, answer: Answer) -> Turn {
        match answer {
            Answer::Ready | Answer::Failed { .. } => Ok(()),
            Answer::Born { id, pid } => self.born(Id(id), pid),
            Answer::Unborn { id, why } => self.unborn(Id(id), &why),
        }
    }

    pub(super) fn nursery_died(&mut self, generation: u64) -> Turn {
        // Its answers first: a birth it told of has happened.
        while let Some(answer) =
            self.nurseries.of(generation).and_then(|nursery| nursery.hear(Instant::now()))
        {
            self.answered(answer)?;
        }
        let Some(nursery) = self.nurseries.of(generation) else { return Ok(()) };
        if nursery.awaits_newborns(&self.epoll, Instant::now())? {
            return Ok(());
        }
        let stopping = self.fleet.is_stopping();
        let told = nursery.reap(stopping, &self.epoll, Instant::now())?;
        if nursery.is_retired() && nursery.is_gone() {
            let unborn = nursery.stop();
            self.nurseries.remove(generation);
            return unborn.into_iter().try_for_each(|id| self.not_to_be(id));
        }
        match told {
            None => return Ok(()),
            Some(_) if stopping => {}
            // A reload does not wait for what fails: the old generation, and its nursery, are there.
            Some(Ok(told) | Err(Failed { told, .. })) if self.fleet.reloading() == Some(generation) => {
                self.step(Input::Barren { generation, why: told })?;
                if self.fleet.generation() != generation {
                    return Ok(());
                }
                // What has failed is the way back from an upgrade, to the generation in force: it goes on, and so does whatever
                // else it was asked for.
            }
            Some(Ok(told)) => {
                report::error(format_args!("the nursery {told}; another takes its place"));
            }
            Some(Err(failed)) => {
                self.preload_failed = Some(failed);
                return self.step(Input::Stop { signal: None });
            }
        }
        self.renew_births(generation)
    }

    /// One that was asked for may have been born without our being told, if both were killed before they could, or it stands still.
    /// It is to find its channel closed and go; the one that the next nursery makes gets another.
    fn renew_births(&mut self, generation: u64) -> Turn {
        let renewed = self.nurseries.of(generation).map(Nursery::renew).unwrap_or_default();
        for id in renewed {
            let pair = scm::stream_pair();
            let Some(nursery) = self.nurseries.of(generation) else { break };
            match pair {
                Ok((ours, theirs)) => {
                    hub::open(id, ours);
                    nursery.give(id, theirs);
                }
                Err(error) => {
                    nursery.cancel(id);
                    self.unborn(id, &error)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn tick_nurseries(&mut self, now: Instant) -> Turn {
        for generation in self.nurseries.generations() {
            if self.nurseries.of(generation).is_some_and(|nursery| nursery.is_to_be_reaped(now)) {
                self.nursery_died(generation)?;
            }
            if self.nurseries.of(generation).is_some_and(|nursery| nursery.tick(now)) {
                self.try_nursery(generation, now)?;
            }
        }
        Ok(())
    }

    pub(super) fn try_nursery(&mut self, generation: u64, now: Instant) -> Turn {
        match self.start_nursery(generation) {
            // The workers that live serve on.
            Err(Departure::Broken(error)) => {
                report::error(format_args!("starting the nursery: {error}; it is tried again"));
                self.nurseries.add(generation).later(now);
                Ok(())
            }
            started => started,
        }
    }
}
