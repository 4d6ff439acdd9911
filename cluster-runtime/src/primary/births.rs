//! Births, by fork or by the nursery, and the nursery's own.

use std::fmt::Display;
use std::time::Instant;

use super::nursery::{Answer, Start};
use super::slot::Id;
use super::step::Input;
use super::{Departure, GENERATION, Loop, Newborn, Offspring, Source, Turn, ask, desk, hub};
use crate::report;
use crate::sys::epoll::Interest;
use crate::sys::fork::{self, Birth};
use crate::sys::pidfd::Child;
use crate::sys::scm;

impl Loop {
    pub(super) fn spawn(&mut self, id: Id, slot: usize) -> Turn {
        let (ours, theirs) = match scm::stream_pair() {
            Ok(pair) => pair,
            Err(error) => return self.unborn(id, &error),
        };
        if self.preloads.is_some() {
            if self.fleet.is_stopping() {
                // Asked for before the stop, in the same breath: the nursery is gone by now.
                desk::forget(id);
                return self.step(Input::Unborn { id });
            }
            hub::open(id, ours);
            self.nursery.spawn(id, slot, theirs, Instant::now());
            return Ok(());
        }
        let primary = std::process::id();
        match fork::fork() {
            Ok(Birth::Child) => Err(Departure::Born(Offspring::Worker(Newborn {
                id: id.0,
                slot,
                generation: GENERATION,
                channel: theirs,
                primary,
            }))),
            Ok(Birth::Parent { child }) => {
                drop(theirs);
                hub::open(id, ours);
                self.born(id, child)
            }
            Err(error) => self.unborn(id, &error),
        }
    }

    fn born(&mut self, id: Id, pid: u32) -> Turn {
        if self.fleet.member(id).is_none() {
            // The cluster stopped while the nursery was at it.
            Child::end(pid);
            return Ok(());
        }
        let watched = Child::or_end(pid).and_then(|child| {
            let added = self
                .epoll
                .add(&child, Source::Child(id).name(), Interest::Read)
                .and_then(|()| hub::attend(id, &self.epoll, Source::Channel(id).name()));
            match added {
                Ok(()) => Ok(child),
                Err(error) => child.end_now().and(Err(error)),
            }
        });
        match watched {
            Ok(child) => {
                self.children.insert(id, child);
                desk::born(id, pid);
                self.step(Input::Born { id })
            }
            Err(error) => self.unborn(id, &error),
        }
    }

    pub(super) fn unborn(&mut self, id: Id, why: &dyn Display) -> Turn {
        report::error(format_args!("starting worker {}: {why}", id.0));
        hub::close(id);
        ask::closed(id);
        desk::forget(id);
        self.step(Input::Unborn { id })
    }

    pub(super) fn start_nursery(&mut self) -> Turn {
        match self.nursery.start(self.settings.startup_timeout, Instant::now())? {
            Start::Nursery(cradle) => return Err(Departure::Born(Offspring::Nursery(cradle))),
            Start::Primary => {}
        }
        Ok(self.nursery.watch(&self.epoll)?)
    }

    pub(super) fn nursery_answered(&mut self) -> Turn {
        match self.nursery.hear(Instant::now()) {
            Some(answer) => self.answered(answer),
            None => Ok(self.nursery.unhear_deaf(&self.epoll)?),
        }
    }

    fn answered(&mut self, answer: Answer) -> Turn {
        match answer {
            Answer::Ready => Ok(()),
            Answer::Born { id, pid } => self.born(Id(id), pid),
            Answer::Unborn { id, why } => self.unborn(Id(id), &why),
        }
    }

    pub(super) fn nursery_died(&mut self) -> Turn {
        // Its answers first: a birth it told of has happened.
        while let Some(answer) = self.nursery.hear(Instant::now()) {
            self.answered(answer)?;
        }
        self.nursery.unwatch(&self.epoll)?;
        let stopping = self.fleet.is_stopping();
        match self.nursery.reap(stopping, Instant::now()) {
            Some(Ok(told)) if !stopping => {
                report::error(format_args!("the nursery {told}; another takes its place"));
            }
            Some(Err(failed)) => {
                self.preload_failed = Some(failed);
                return self.step(Input::Stop { signal: None });
            }
            _ => {}
        }
        // One that was asked for may have been born without our being told. It is to find its channel closed and go;
        // the one that the next nursery makes gets another.
        for id in self.nursery.renew() {
            match scm::stream_pair() {
                Ok((ours, theirs)) => {
                    hub::open(id, ours);
                    self.nursery.give(id, theirs);
                }
                Err(error) => {
                    self.nursery.cancel(id);
                    self.unborn(id, &error)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn tick_nursery(&mut self, now: Instant) -> Turn {
        if self.nursery.tick(now) {
            match self.start_nursery() {
                // The workers that live serve on.
                Err(Departure::Broken(error)) => {
                    report::error(format_args!("starting the nursery: {error}; it is tried again"));
                    self.nursery.later(now);
                }
                started => started?,
            }
        }
        Ok(())
    }
}
