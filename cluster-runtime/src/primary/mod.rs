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
use self::cradle::Cradle;
use self::lane::Lanes;
use self::listen::Listeners;
use self::notify::Notify;
use self::nurseries::Nurseries;
use self::output::{Ends, Outputs};
use self::signals::OWN_SIGNALS;
use self::slot::Id;
use self::source::Source;
use self::step::{Effect, Event, Failure, Fleet, Ids, Input, Rules};
use self::strangers::Strangers;
use self::upgrading::Upgrading;
use crate::config::{Settings, Spawn};
use crate::event::Signal;
use crate::fork::Fork;
use crate::ipc::message::{ListenerId, ToWorker};
use crate::report;
use crate::sys::credentials::Credentials;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::pidfd::Child;
use crate::sys::program;
use crate::sys::signal::Signals;
use crate::sys::{activation, process};

mod accept;
pub(crate) mod adopt;
pub(crate) mod ask;
mod births;
pub(crate) mod callback;
mod check;
mod cradle;
mod deadlines;
mod deaths;
pub(crate) mod desk;
mod generations;
mod health;
mod hear;
mod heart;
mod hub;
mod lane;
mod latecomers;
mod leave;
pub(crate) mod lines;
mod listen;
mod notify;
mod nurseries;
mod nursery;
mod outlet;
pub(crate) mod output;
mod own;
mod pace;
pub(crate) mod parts;
pub(crate) mod pick;
mod recycle;
mod relay;
mod reload;
mod rows;
pub(crate) mod saved;
mod scale;
mod signals;
mod slot;
mod source;
pub(crate) mod status;
pub(crate) mod step;
mod stop;
mod strangers;
mod supervise;
mod tally;
mod tending;
mod threads;
mod upgrade;
mod upgrading;
mod words;

/// What a nursery runs before it forks.
pub(crate) type Preload = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// Makes the preload for one more nursery.
pub(crate) type Preloads = Box<dyn Fn() -> Preload + Send>;

/// A worker that has just been born, in its own process.
#[derive(Debug)]
pub(crate) struct Newborn {
    pub(crate) id: u64,
    pub(crate) slot: usize,
    pub(crate) generation: u64,
    pub(crate) channel: OwnedFd,
    /// Its row, where it has one.
    pub(crate) board: Option<OwnedFd>,
    /// The pid its parent must have.
    pub(crate) primary: u32,
    pub(crate) fork: Fork,
    /// Nothing where it prints to what the primary does.
    pub(crate) output: Option<Ends>,
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

/// What a loop waits and speaks by.
struct Kernel {
    epoll: Epoll,
    signals: Signals,
    outputs: Outputs,
    /// Whether orphans of others become this process's children.
    adopts: bool,
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
    nurseries: Nurseries,
    preload_failed: Option<nursery::Failed>,
    outputs: Outputs,
    /// Who workers by exec become; those that are forked do so themselves.
    credentials: Option<Credentials>,
    /// What was said of one worker alone, by slot: its replacements are given the same.
    forks: BTreeMap<usize, Fork>,
    /// That there are other threads has been told.
    told_threads: bool,
    notify: Notify,
    strangers: Strangers,
    upgrading: Upgrading,
    /// In a new image, until it has begun: it has taken over from another, or can't.
    resuming: Option<Result<(), String>>,
    /// Left by that other, to be ended.
    leavers: Vec<Child>,
    /// That workers are another user's, and can't be sent signals.
    told_signals: bool,
}

impl Loop {
    pub(crate) fn new(
        settings: Settings,
        ids: Ids,
        callbacks: Primary,
        preloads: Option<Preloads>,
        credentials: Option<Credentials>,
    ) -> io::Result<Loop> {
        let upgrading = Upgrading::new(program::path()?, None);
        let epoll = Epoll::new()?;
        let adopts = process::adopts_orphans()?;
        let own = OWN_SIGNALS.into_iter().chain(adopts.then_some(Signal::CHLD)).chain(callbacks.signals());
        let signals = Signals::watch(own.map(Signal::as_raw))?;
        epoll.add(&signals, Source::Signals.name(), Interest::Read)?;
        let outputs = Outputs::new(settings.output)?;
        let fleet = Fleet::new(Rules::of(&settings), ids);
        let kernel = Kernel { epoll, signals, outputs, adopts };
        Ok(Loop::of(settings, callbacks, preloads, credentials, fleet, kernel, upgrading))
    }

    fn of(
        settings: Settings,
        callbacks: Primary,
        preloads: Option<Preloads>,
        credentials: Option<Credentials>,
        fleet: Fleet,
        Kernel { epoll, signals, outputs, adopts }: Kernel,
        upgrading: Upgrading,
    ) -> Loop {
        Loop {
            fleet,
            epoll,
            signals,
            children: BTreeMap::new(),
            listeners: Listeners::default(),
            lanes: Lanes::new(settings.overload, settings.policy),
            door: Door::default(),
            held: hear::Held::default(),
            announced: BTreeSet::new(),
            somebody_bound: false,
            callbacks,
            preloads,
            nurseries: Nurseries::default(),
            preload_failed: None,
            settings,
            outputs,
            credentials,
            forks: BTreeMap::new(),
            told_threads: false,
            told_signals: false,
            notify: Notify::from_environment(Instant::now()),
            strangers: Strangers::new(adopts, Instant::now()),
            upgrading,
            resuming: None,
            leavers: Vec::new(),
        }
    }

    /// THE LOOP. Ends when the cluster has; breaks in every child that is born in it.
    pub(crate) fn run(&mut self) -> Turn<Ending> {
        match self.resuming.take() {
            None => self.begin()?,
            Some(set_up) => self.resume(set_up)?,
        }
        let mut names = Vec::new();
        loop {
            self.obey()?;
            let now = Instant::now();
            self.tell_service_manager(now);
            if self.fleet.awaits_quiet() {
                self.fall_silent()?;
                self.step(Input::Quiet)?;
            }
            if let Some(ending) = self.ending() {
                return Ok(ending);
            }
            self.close_abandoned(now);
            self.move_connections(now);
            self.door.arm(&self.listeners, &self.lanes, &self.epoll, now)?;
            self.outputs.hand_over();
            hub::arm(&self.epoll, |id| Source::Channel(id).name())?;
            self.outputs.arm(&self.epoll)?;
            self.wait(now, &mut names)?;
            for name in names.drain(..) {
                match Source::of(name) {
                    Source::Signals => self.signalled()?,
                    Source::Listener(id) => self.accept(id),
                    Source::Lane(id) => self.lanes.writable(id, &self.epoll),
                    Source::Channel(id) => self.listen_to(id)?,
                    Source::Child(id) => self.reap(id)?,
                    Source::NurseryAnswer(generation) => self.nursery_answered(generation)?,
                    Source::NurseryChild(generation) => self.nursery_died(generation)?,
                    Source::Output(id, stream) => self.listen_to_output(id, stream)?,
                    Source::Outlet(index) => self.outputs.writable(index),
                    Source::Check => self.check_ended()?,
                }
                // What a callback has asked for comes before whatever else has happened meanwhile: a worker that it
                // told to leave, and that has gone by now, went as it was told.
                self.obey()?;
            }
            self.tick()?;
        }
    }

    fn begin(&mut self) -> Turn {
        let workers = self.settings.workers.count();
        report::info(format_args!("primary {} starts {workers} workers", std::process::id()));
        self.bind_all()?;
        self.check_output();
        if self.preloads.is_some() && self.settings.spawn == Spawn::Fork {
            self.start_nursery(self.fleet.generation())?;
        }
        self.step(Input::Start { workers })
    }

    /// In a child: lets go of everything, and destroys nothing. Every descriptor is closed by its owner here;
    /// what the user's callbacks captured is forgotten, since its destructors are the primary's to run.
    ///
    /// The signals are given back blocked: whoever this is now unblocks them when it has its own handlers.
    pub(crate) fn leave(mut self) -> (Signals, Option<Preloads>) {
        if let Err(error) = self.signals.unhandle() {
            report::error(format_args!("giving up the handlers of signals: {error}"));
        }
        std::mem::forget(self.callbacks);
        // Memory and nothing else: given back, it would be written to, and so be this process's own.
        std::mem::forget((self.settings, self.fleet, self.forks, self.announced, self.held));
        activation::leave();
        own::leave();
        ask::forget();
        hub::close_all();
        rows::close_all();
        desk::close();
        (self.signals, self.preloads)
    }

    /// In the primary: puts everything back as it was, so that the program may go on, or start again. Whoever is
    /// left, because the loop could not go on, is ended.
    pub(crate) fn close(mut self) -> io::Result<()> {
        // Whoever can't be ended keeps nobody else, and hears of the end by its channel.
        let mut ended = Ok(());
        for child in self.children.values() {
            ended = ended.and(child.end_now());
        }
        ended = ended.and(self.nurseries.end_now());
        self.upgrading.end();
        for child in self.upgrading.abandoned.iter().chain(&self.leavers) {
            ended = ended.and(child.end_now());
        }
        self.listeners.close();
        ask::end();
        self.outputs.finish();
        hub::close_all();
        rows::close_all();
        own::clear();
        desk::close();
        ended.and(self.signals.restore())
    }

    /// Does what callbacks have asked for.
    fn obey(&mut self) -> Turn {
        while let Some(order) = desk::next_order() {
            self.step(order)?;
        }
        Ok(())
    }

    fn step(&mut self, input: Input) -> Turn {
        let effects = self.decide(input);
        self.perform(effects)
    }

    fn decide(&mut self, input: Input) -> Vec<Effect> {
        let forked = if let Input::Fork { id } = input { Some(id) } else { None };
        let effects = self.fleet.step(input, Instant::now());
        desk::update(&self.fleet);
        if let Some(id) = forked.filter(|id| self.fleet.member(*id).is_none()) {
            desk::forget(id);
        }
        effects
    }

    fn perform(&mut self, effects: Vec<Effect>) -> Turn {
        for effect in effects {
            match effect {
                Effect::Spawn { id, slot, generation } => self.spawn(id, slot, generation)?,
                Effect::Drain { id } => self.drain(id),
                Effect::Foretell { id } => hub::tell(id, &ToWorker::Stopping, None),
                Effect::Signal { id, signal } => self.signal(id, signal),
                Effect::Publish(event) => self.publish(event),
                Effect::Found(id, finding) => self.found(id, finding),
                Effect::StopListening => self.stop_listening()?,
                Effect::Throttled { slot, delay } => report::warn(format_args!(
                    "slot {slot} is filled again in {delay:.1?}: its workers die before they have served"
                )),
                Effect::Reloading { generation } => self.reloading(generation)?,
                Effect::Reloaded(outcome) => self.reloaded(&outcome)?,
                Effect::Recycling { id, by, why } => {
                    report::info(format_args!("worker {} {why}: worker {} takes its place", id.0, by.0));
                }
                Effect::NotRecycled { id, delay } => report::warn(format_args!(
                    "worker {} serves on, since the one for its place did not come up: another is tried in {delay:.1?}",
                    id.0
                )),
                Effect::Scaled { from, to } => generations::tell_scaled(from, to),
                Effect::NotToBe { id } => self.not_to_be(id)?,
                Effect::Check => self.check()?,
                Effect::Exec => self.execute()?,
                Effect::GoBack { why } => self.go_back(&why)?,
                Effect::Proving { generation } => self.proving(generation)?,
                Effect::Retire { generation } => self.retire(generation)?,
                Effect::Upgraded(outcome) => self.upgraded(&outcome)?,
                Effect::Returning { generation } => self.returning(generation)?,
                Effect::Returned(outcome) => self.returned(&outcome)?,
            }
        }
        Ok(())
    }

    fn drain(&mut self, id: Id) {
        let within = self.fleet.time_to_drain(id);
        hub::tell(
            id,
            &ToWorker::Drain { within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX) },
            None,
        );
        if !self.door.is_closing() {
            self.lanes.end_all(id);
        }
    }

    fn publish(&mut self, event: Event) {
        match event {
            Event::Fork(id) => self.callbacks.forked(&desk::worker(id)),
            Event::Online(id) => self.callbacks.onlined(&desk::worker(id)),
            Event::Disconnect(id) => {
                hub::close(id);
                ask::closed(id);
                self.callbacks.disconnected(&desk::worker(id));
            }
            Event::Exit(id, exit) => {
                let worker = desk::ended(id, &exit);
                deaths::tell_exit(&worker, &exit);
                self.callbacks.exited(&worker, &exit);
            }
        }
    }

    fn accept(&mut self, id: ListenerId) {
        self.door.accept(id, &self.listeners, &mut self.lanes, &self.epoll, Instant::now());
    }

    fn tick(&mut self) -> Turn {
        let now = Instant::now();
        self.callbacks.run_timers(now);
        ask::tick(now);
        self.lanes.tick(now);
        self.look_at_strangers(now);
        self.release_all_held(now)?;
        self.tick_nurseries(now)?;
        self.hear_the_silent(now)?;
        if self.fleet.deadline().is_some_and(|deadline| deadline <= now) {
            return self.step(Input::Tick);
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let own = [self.fleet.deadline(), self.nurseries.deadline(), self.callbacks.deadline()];
        let own = own.into_iter().chain([ask::deadline(), hub::deadline(Instant::now())]);
        let way = [self.door.deadline(), self.lanes.deadline()];
        let outside = [self.notify.deadline(), self.strangers.deadline()];
        // At a stop all are closed together, and nobody looks at who has a use for them.
        let listeners = self.listeners.deadline().filter(|_| !self.fleet.is_stopping());
        let listening = [self.held.deadline(), listeners];
        own.chain(way).chain(listening).chain(outside).flatten().min()
    }
}
