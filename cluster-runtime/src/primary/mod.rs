//! The primary: one thread, one loop, which owns every socket and every worker's life.
//!
//! Whatever can happen to the fleet is an [`Input`], whatever is done about it an [`Effect`];
//! [`Fleet::step`](step::Fleet::step) alone decides. Nothing here decides, nothing there acts.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use self::accept::Door;
use self::callback::Primary;
use self::lane::Lanes;
use self::listen::Listeners;
use self::nursery::{Answer, Cradle, Nursery, Start};
use self::slot::Id;
use self::step::{Effect, Event, Failure, Fleet, Ids, Input, Rules};
use crate::config::Settings;
use crate::event::{Exit, ExitStatus, Signal};
use crate::ipc::message::{LaneId, ListenerId, ToWorker};
use crate::report;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::fork::{self, Birth};
use crate::sys::pidfd::{Child, Status};
use crate::sys::scm;
use crate::sys::signal::Signals;

mod accept;
pub(crate) mod callback;
pub(crate) mod desk;
mod hear;
mod hub;
mod lane;
mod listen;
mod nursery;
mod pick;
mod slot;
pub(crate) mod step;
mod supervise;

/// What a nursery runs before it forks.
pub(crate) type Preload = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// Makes the preload for one more nursery.
pub(crate) type Preloads = Box<dyn Fn() -> Preload + Send>;

/// What the epoll set calls its sources.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Source {
    Signals,
    Listener(ListenerId),
    Lane(LaneId),
    Channel(Id),
    Child(Id),
    NurseryChild,
    NurseryAnswer,
}

impl Source {
    const SHIFT: u32 = 56;

    fn name(self) -> u64 {
        let (kind, id) = match self {
            Source::Signals => (0, 0),
            Source::Listener(id) => (1, u64::from(id.0)),
            Source::Lane(id) => (2, id.0),
            Source::Channel(id) => (3, id.0),
            Source::Child(id) => (4, id.0),
            Source::NurseryChild => (5, 0),
            Source::NurseryAnswer => (6, 0),
        };
        kind << Source::SHIFT | id
    }

    fn of(name: u64) -> Source {
        let id = name & ((1 << Source::SHIFT) - 1);
        match name >> Source::SHIFT {
            1 => Source::Listener(ListenerId(id as u32)),
            2 => Source::Lane(LaneId(id)),
            3 => Source::Channel(Id(id)),
            4 => Source::Child(Id(id)),
            5 => Source::NurseryChild,
            6 => Source::NurseryAnswer,
            _ => Source::Signals,
        }
    }
}

/// A worker that has just been forked, in its own process.
#[derive(Debug)]
pub(crate) struct Newborn {
    pub(crate) id: u64,
    pub(crate) slot: usize,
    pub(crate) channel: OwnedFd,
    /// The pid its parent must have.
    pub(crate) primary: u32,
}

/// Who the loop's caller finds itself to be when it returns early: no longer the primary.
pub(crate) enum Offspring {
    Worker(Newborn),
    Nursery(Cradle),
}

/// Why the loop is left other than by the cluster's end.
pub(crate) enum Departure {
    Born(Offspring),
    /// The loop itself can't go on.
    Broken(io::Error),
}

impl From<io::Error> for Departure {
    fn from(error: io::Error) -> Departure {
        Departure::Broken(error)
    }
}

type Turn<T = ()> = Result<T, Departure>;

/// Why a cluster ended.
#[derive(Debug)]
pub(crate) enum Ending {
    Asked,
    Failed(Failure, Hint),
    Preload(nursery::Failed),
}

/// What may help a person with a failure.
#[derive(Debug)]
pub(crate) enum Hint {
    None,
    /// No worker ever asked for a socket.
    NobodyBound,
}

/// Everything the primary holds.
pub(crate) struct Loop {
    settings: Settings,
    fleet: Fleet,
    epoll: Epoll,
    signals: Signals,
    children: BTreeMap<Id, Child>,
    listeners: Listeners,
    lanes: Lanes,
    door: Door,
    held: hear::Held,
    /// What each worker listens to, as far as it was told.
    announced: BTreeSet<(Id, ListenerId)>,
    somebody_bound: bool,
    callbacks: Primary,
    preloads: Option<Preloads>,
    nursery: Nursery,
    preload_failed: Option<nursery::Failed>,
}

impl Loop {
    pub(crate) fn new(
        settings: Settings,
        ids: Ids,
        callbacks: Primary,
        preloads: Option<Preloads>,
    ) -> io::Result<Loop> {
        let rules = Rules {
            restart: settings.restart,
            max_restarts: settings.max_restarts(),
            restart_window: settings.restart_window,
            startup_timeout: settings.startup_timeout,
            drain_timeout: settings.drain_timeout,
        };
        let epoll = Epoll::new()?;
        let own = [Signal::TERM, Signal::INT, Signal::QUIT];
        let signals = Signals::watch(own.into_iter().chain(callbacks.signals()).map(Signal::as_raw))?;
        epoll.add(&signals, Source::Signals.name(), Interest::Read)?;
        Ok(Loop {
            fleet: Fleet::new(rules, ids),
            settings,
            epoll,
            signals,
            children: BTreeMap::new(),
            listeners: Listeners::default(),
            lanes: Lanes::default(),
            door: Door::default(),
            held: hear::Held::default(),
            announced: BTreeSet::new(),
            somebody_bound: false,
            callbacks,
            preloads,
            nursery: Nursery::default(),
            preload_failed: None,
        })
    }

    /// THE LOOP. Ends when the cluster has; breaks in every child that is born in it.
    pub(crate) fn run(&mut self) -> Turn<Ending> {
        let workers = self.settings.workers.count();
        report::info(format_args!("primary {} starts {workers} workers", std::process::id()));
        if self.preloads.is_some() {
            self.start_nursery()?;
        }
        self.step(Input::Start { workers })?;
        loop {
            while let Some(order) = desk::next_order() {
                self.step(order)?;
            }
            if let Some(ending) = self.ending() {
                return Ok(ending);
            }
            let now = Instant::now();
            self.door.arm(&self.listeners, &self.lanes, &self.epoll, now)?;
            hub::arm(&self.epoll, |id| Source::Channel(id).name())?;
            let timeout = self.deadline().map(|at| at.saturating_duration_since(now));
            for name in self.epoll.wait(timeout)? {
                match Source::of(name) {
                    Source::Signals => self.signalled()?,
                    Source::Listener(id) => self.accept(id),
                    Source::Lane(id) => self.writable(id),
                    Source::Channel(id) => self.listen_to(id)?,
                    Source::Child(id) => self.reap(id)?,
                    Source::NurseryAnswer => self.nursery_answered()?,
                    Source::NurseryChild => self.nursery_died()?,
                }
            }
            self.tick()?;
        }
    }

    /// In a child: lets go of everything, and destroys nothing. Every descriptor is closed by its owner here;
    /// what the user's callbacks captured is forgotten, since its destructors are the primary's to run.
    ///
    /// The signals are given back blocked: whoever this is now unblocks them when it has its own handlers.
    pub(crate) fn leave(self) -> (Signals, Option<Preloads>) {
        std::mem::forget(self.callbacks);
        hub::close_all();
        desk::close();
        (self.signals, self.preloads)
    }

    /// In the primary: puts everything back as it was, so that the program may go on, or start again.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.listeners.close();
        hub::close_all();
        desk::close();
        self.signals.restore()
    }

    fn step(&mut self, input: Input) -> Turn {
        let forked = if let Input::Fork { id } = input { Some(id) } else { None };
        let effects = self.fleet.step(input, Instant::now());
        desk::update(&self.fleet);
        if let Some(id) = forked.filter(|id| self.fleet.member(*id).is_none()) {
            desk::forget(id);
        }
        for effect in effects {
            match effect {
                Effect::Spawn { id, slot } => self.spawn(id, slot)?,
                Effect::Drain { id } => self.drain(id),
                Effect::Signal { id, signal } => self.signal(id, signal),
                Effect::Publish(event) => self.publish(event),
                Effect::StopListening => self.stop_listening()?,
                Effect::Throttled { slot, delay } => report::warn(format_args!(
                    "slot {slot} is filled again in {delay:.1?}: its workers die before they have served"
                )),
            }
        }
        Ok(())
    }

    fn spawn(&mut self, id: Id, slot: usize) -> Turn {
        let (ours, theirs) = match scm::stream_pair() {
            Ok(pair) => pair,
            Err(error) => return self.unborn(id, &error),
        };
        if self.preloads.is_some() {
            hub::open(id, ours);
            self.nursery.spawn(id, slot, theirs);
            return Ok(());
        }
        let primary = std::process::id();
        match fork::fork() {
            Ok(Birth::Child) => {
                Err(Departure::Born(Offspring::Worker(Newborn { id: id.0, slot, channel: theirs, primary })))
            }
            Ok(Birth::Parent { child }) => {
                drop(theirs);
                hub::open(id, ours);
                self.born(id, child)
            }
            Err(error) => self.unborn(id, &error),
        }
    }

    fn born(&mut self, id: Id, pid: u32) -> Turn {
        let watched = Child::or_end(pid).and_then(|child| {
            self.epoll.add(&child, Source::Child(id).name(), Interest::Read)?;
            hub::attend(id, &self.epoll, Source::Channel(id).name())?;
            Ok(child)
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

    fn unborn(&mut self, id: Id, error: &dyn std::fmt::Display) -> Turn {
        report::error(format_args!("starting worker {}: {error}", id.0));
        hub::close(id);
        desk::forget(id);
        self.step(Input::Unborn { id })
    }

    fn drain(&mut self, id: Id) {
        let within = self.settings.drain_timeout;
        hub::tell(
            id,
            &ToWorker::Drain { within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX) },
            None,
        );
        let unread = self.lanes.end_all(id);
        self.door.take_back(unread, &mut self.lanes, &self.epoll);
    }

    fn signal(&self, id: Id, signal: Signal) {
        if let Some(child) = self.children.get(&id)
            && let Err(error) = child.signal(signal.as_raw())
        {
            report::error(format_args!("sending {signal} to worker {}: {error}", id.0));
        }
    }

    fn publish(&mut self, event: Event) {
        match event {
            Event::Fork(id) => self.callbacks.forked(&desk::worker(id)),
            Event::Online(id) => self.callbacks.onlined(&desk::worker(id)),
            Event::Disconnect(id) => {
                hub::close(id);
                self.callbacks.disconnected(&desk::worker(id));
            }
            Event::Exit(id, exit) => {
                let worker = desk::ended(id, &exit);
                tell_exit(&worker, &exit);
                self.callbacks.exited(&worker, &exit);
            }
        }
    }

    fn stop_listening(&mut self) -> Turn {
        let lost = self.door.close(&self.listeners, &mut self.lanes, &self.epoll);
        if lost > 0 {
            report::error(format_args!(
                "{lost} connections had been accepted and no worker was there to take them"
            ));
        }
        self.listeners.close();
        match self.nursery.stop() {
            Ok(unborn) => {
                for id in unborn {
                    hub::close(id);
                    desk::forget(id);
                    self.step(Input::Unborn { id })?;
                }
            }
            Err(error) => report::error(format_args!("ending the nursery: {error}")),
        }
        Ok(())
    }

    fn accept(&mut self, id: ListenerId) {
        self.door.accept(id, &self.listeners, &mut self.lanes, &self.epoll, Instant::now());
    }

    fn writable(&mut self, id: LaneId) {
        self.lanes.writable(id, &self.epoll);
        self.door.give_out(&mut self.lanes, &self.epoll);
    }

    fn signalled(&mut self) -> Turn {
        while let Some(number) = self.signals.next()? {
            let Some(signal) = Signal::from_raw(number) else { continue };
            self.callbacks.signalled(signal);
            // What a callback asked for comes first: a message to all, say, before they are told to go.
            while let Some(order) = desk::next_order() {
                self.step(order)?;
            }
            let input = match signal {
                Signal::TERM | Signal::INT => Input::Stop { signal: Some(signal) },
                Signal::QUIT => Input::StopNow { signal },
                _ => continue,
            };
            self.tell_stop(signal);
            self.step(input)?;
        }
        Ok(())
    }

    fn tell_stop(&self, signal: Signal) {
        let workers = self.fleet.members().count();
        if signal == Signal::QUIT || self.fleet.is_stopping() {
            report::warn(format_args!("{signal}: stopping now, {workers} workers are killed"));
        } else {
            let within = self.settings.drain_timeout;
            report::info(format_args!("{signal}: stopping, {workers} workers have {within:?} to finish"));
        }
    }

    /// A worker's process has ended. First what it said, then what it had not read, then its end: the messages of
    /// a dying worker arrive before its exit event, and the connections that it left are served.
    fn reap(&mut self, id: Id) -> Turn {
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
        let unread = self.lanes.reclaim(id);
        self.announced.retain(|(worker, _)| *worker != id);
        self.release_held(id);
        for (listener, gone) in self.listeners.bereave(id) {
            report::info(format_args!("{} is closed: it was given by a worker that has ended", gone.address));
            self.door.remove(listener, &gone, &self.epoll);
        }
        self.door.take_back(unread, &mut self.lanes, &self.epoll);
        self.step(Input::Exited { id, status })
    }

    fn start_nursery(&mut self) -> Turn {
        match self.nursery.start(self.settings.startup_timeout, Instant::now())? {
            Start::Nursery(cradle) => return Err(Departure::Born(Offspring::Nursery(cradle))),
            Start::Primary => {}
        }
        if let Some((child, socket)) = self.nursery.fds() {
            self.epoll.add(child, Source::NurseryChild.name(), Interest::Read)?;
            self.epoll.add(socket, Source::NurseryAnswer.name(), Interest::Read)?;
        }
        Ok(())
    }

    fn nursery_answered(&mut self) -> Turn {
        match self.nursery.hear() {
            Some(Answer::Born { id, pid }) if self.fleet.member(Id(id)).is_some() => {
                self.born(Id(id), pid)?
            }
            // Stopped meanwhile: it sees its channel closed, and goes.
            Some(Answer::Born { .. } | Answer::Ready) | None => {}
            Some(Answer::Unborn { id, why }) => self.unborn(Id(id), &why)?,
        }
        Ok(())
    }

    fn nursery_died(&mut self) -> Turn {
        // Its answers first: a birth it told of has happened.
        while let Some(answer) = self.nursery.hear() {
            if let Answer::Born { id, pid } = answer
                && self.fleet.member(Id(id)).is_some()
            {
                self.born(Id(id), pid)?;
            }
        }
        if let Some((child, socket)) = self.nursery.fds() {
            self.epoll.remove(child)?;
            self.epoll.remove(socket)?;
        }
        match self.nursery.reap(self.fleet.is_stopping(), Instant::now())? {
            Some(Ok(told)) if !self.fleet.is_stopping() => {
                report::error(format_args!("the nursery {told}; another takes its place"));
            }
            Some(Err(failed)) => {
                self.preload_failed = Some(failed);
                return self.step(Input::Stop { signal: None });
            }
            _ => {}
        }
        Ok(())
    }

    fn tick(&mut self) -> Turn {
        let now = Instant::now();
        self.callbacks.run_timers(now);
        if self.nursery.tick(now)? {
            match self.start_nursery() {
                // The workers that live serve on.
                Err(Departure::Broken(error)) => {
                    report::error(format_args!("starting the nursery: {error}; it is tried again"));
                    self.nursery.later(now);
                }
                started => started?,
            }
        }
        if self.fleet.deadline().is_some_and(|deadline| deadline <= now) {
            return self.step(Input::Tick);
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let all =
            [self.fleet.deadline(), self.door.deadline(), self.nursery.deadline(), self.callbacks.deadline()];
        all.into_iter().flatten().min()
    }

    fn ending(&mut self) -> Option<Ending> {
        let end = self.fleet.end()?;
        if !self.nursery.is_gone() {
            // Its end is waited for, that no zombie is left; and it has been sent a SIGKILL, or is sent one now.
            if let Err(error) = self.nursery.stop() {
                report::error(format_args!("ending the nursery: {error}"));
            }
            return None;
        }
        Some(match (self.preload_failed.take(), end) {
            (Some(failed), _) => Ending::Preload(failed),
            (None, Ok(())) => Ending::Asked,
            (None, Err(failure)) => {
                let hint = if self.somebody_bound { Hint::None } else { Hint::NobodyBound };
                Ending::Failed(failure.clone(), hint)
            }
        })
    }
}

fn tell_exit(worker: &desk::Worker, exit: &Exit) {
    let (id, slot, pid) = (worker.id(), worker.slot(), worker.pid());
    if exit.exited_after_disconnect() {
        report::info(format_args!("worker {id} (slot {slot}, pid {pid}) {exit}"));
    } else {
        report::error(format_args!("worker {id} (slot {slot}, pid {pid}) {exit}"));
    }
}
