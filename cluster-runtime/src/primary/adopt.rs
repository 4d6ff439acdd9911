//! In a new image of the primary: what the one before it has left, and how it becomes this one's.
//!
//! Whatever can fail is done first, while nothing is taken: then the way back is to execute the image before with the state as
//! it came. From the first descriptor that is taken to the last, nothing can fail; and from then on the way back is the
//! loop's own.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

use super::callback::Primary;
use super::hub::saved as lines;
use super::output::Outputs;
use super::saved::State;
use super::saved::file::{self, Header};
use super::signals::OWN_SIGNALS;
use super::slot::Id;
use super::source::Source;
use super::step::{Fleet, Ids, Input, Rules};
use super::upgrading::{Before, NAME, Upgrading};
use super::{Departure, Kernel, Loop, Preloads, Turn, ask, desk};
use crate::cluster::Setup;
use crate::config::{Settings, Spawn};
use crate::event::Signal;
use crate::report;
use crate::sys::credentials::Credentials;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::passed::{Claims, Fd};
use crate::sys::pidfd::Child;
use crate::sys::signal::Signals;
use crate::sys::{activation, exec, inherited, memfd, process};

/// The version of the state that this program writes.
pub(crate) const VERSION: u32 = super::saved::VERSION;

/// What the image before this one has left, before anything of it is taken.
#[derive(Debug)]
pub(crate) struct Handed {
    memory: Fd,
    header: Header,
    state: Result<State, String>,
}

/// Whether there is such a thing: a sealed memory file that this very process has written before an exec.
pub(crate) fn find() -> io::Result<Option<Handed>> {
    let Some(memory) = memory()? else { return Ok(None) };
    let bytes = memory.with(|memory| memfd::read(memory))?;
    let header = file::header(&bytes).map_err(io::Error::other)?;
    let state = file::read(&bytes).and_then(|(_, body)| State::decode(body));
    Ok(Some(Handed { memory, header, state }))
}

/// Whether there is, in a process that does not know yet what it is.
pub(crate) fn is_due() -> bool {
    static DUE: OnceLock<bool> = OnceLock::new();
    *DUE.get_or_init(|| memory().is_ok_and(|found| found.is_some()))
}

fn memory() -> io::Result<Option<Fd>> {
    let ours = |first: &[u8]| file::header(first).is_ok_and(|header| header.pid == std::process::id());
    memfd::find(file::HEADER, ours)
}

/// Whether a state could be taken over by this program.
pub(crate) fn could_read(bytes: &[u8]) -> Result<(), String> {
    file::read(bytes).and_then(|(_, body)| State::decode(body)).map(drop)
}

impl Handed {
    /// This image can't take over: the one before goes on. Returns only if it can't be executed.
    pub(crate) fn go_back(self, why: &str) -> io::Error {
        report::error(format_args!("upgrade: {why}; going back to the program before"));
        self.try_back(why).unwrap_or_else(|error| error)
    }

    fn try_back(self, why: &str) -> io::Result<io::Error> {
        let Handed { memory, header, state } = self;
        if header.returned {
            return Err(io::Error::other(format!("{why}, and there is no program to go back to")));
        }
        // What can't be read is handed back as it came.
        let (body, parts) = match state {
            Ok(state) => {
                let state = State { refused: Some(why.to_owned()), ..state };
                (state.encode().map_err(io::Error::other)?, Some(state.parts))
            }
            Err(_) => {
                let bytes = memory.with(|memory| memfd::read(memory))?;
                (bytes.get(file::HEADER..).unwrap_or_default().to_vec(), None)
            }
        };
        let header = Header { returned: true, ..header };
        // Those that it names; all there are, where that can't be read.
        let others = if parts.is_none() { exec::left_open()? } else { Vec::new() };
        let others = parts.iter().flat_map(|parts| parts.fds()).chain(&others);
        let again = memfd::sealed(NAME, &file::write(&header, &body), others)?;
        let image = Fd::numbered(header.image);
        let again_fd = Fd::of(&again);
        let left: Vec<&Fd> = parts.iter().flat_map(|parts| parts.fds()).chain([&image, &again_fd]).collect();
        // This one's own, which nobody will look for.
        memory.close_on_exec()?;
        let Err(error) = image.with(|image| exec::replace(image, &left));
        Ok(error)
    }
}

/// What could fail, and has not.
struct Ready {
    kernel: Kernel,
    fleet: Fleet,
    claims: Claims,
}

impl Loop {
    /// In the new image. `Err` if it can't be, and there is no way back either.
    pub(crate) fn take_over(
        settings: Settings,
        callbacks: Primary,
        preloads: Option<Preloads>,
        credentials: Option<Credentials>,
        handed: Handed,
    ) -> io::Result<Loop> {
        let ids = Ids::default();
        let ready = match &handed.state {
            Ok(state) => get_ready(&settings, &ids, &handed, state),
            Err(why) => Err(why.clone()),
        };
        match (ready, handed) {
            (Ok(ready), Handed { memory, header, state: Ok(state) }) => {
                let image = Fd::numbered(header.image).take(&ready.claims);
                drop(memory.take(&ready.claims));
                let before = (!header.returned).then_some(Before { image, version: header.version });
                let upgrading = Upgrading::new(PathBuf::from(&state.parts.program), before);
                Ok(take(ready, state, upgrading, settings, ids, |settings, fleet, kernel, upgrading| {
                    Loop::of(settings, callbacks, preloads, credentials, fleet, kernel, upgrading)
                }))
            }
            (Err(why), handed) => Err(handed.go_back(&why)),
            (Ok(_), handed @ Handed { state: Err(_), .. }) => Err(handed.go_back("the state can't be read")),
        }
    }

    /// Runs the user's code for the primary, in which the workers that live are known already.
    pub(crate) fn set_up(&mut self, setup: Option<Setup>) {
        let Some(setup) = setup else { return };
        let way_back = self.keep_way_back();
        if catch_unwind(AssertUnwindSafe(|| setup(&mut self.callbacks))).is_err() {
            self.resuming = Some(Err("its code for the primary panicked".into()));
        }
        drop(way_back);
    }

    /// The beginning, in a new image.
    pub(super) fn resume(&mut self, set_up: Result<(), String>) -> Turn {
        let resumed = set_up.and_then(|()| self.try_resume().map_err(|error| error.to_string()));
        if let Err(why) = resumed {
            report::error(format_args!("upgrade: {why}; going back to the program before"));
            let error = self.replace_by_the_one_before(Some(why.clone()));
            return Err(Departure::Broken(io::Error::other(format!("{why}, and {error}"))));
        }
        for child in std::mem::take(&mut self.leavers) {
            // A nursery of the image before, which has lost its primary. Its end may take long: it may be busy in the kernel, or traced.
            if let Err(error) = self.upgrading.end_of(child, &self.epoll) {
                report::error(format_args!("ending a nursery of the program before: {error}"));
            }
        }
        self.check_output();
        self.note_listeners();
        self.go_on_with_upgrade();
        self.step(Input::Resume)?;
        let generation = self.fleet.generation();
        if self.preloads.is_some()
            && self.settings.spawn == Spawn::Fork
            && self.nurseries.are_idle(generation)
            && !self.fleet.is_stopping()
        {
            self.try_nursery(generation, Instant::now())?;
        }
        Ok(())
    }

    fn try_resume(&mut self) -> io::Result<()> {
        let workers = self.fleet.members().count();
        report::info(format_args!("primary {} goes on, with {workers} workers", std::process::id()));
        self.epoll.add(&self.signals, Source::Signals.name(), Interest::Read)?;
        for (id, child) in &self.children {
            self.epoll.add(child, Source::Child(*id).name(), Interest::End)?;
        }
        lines::hear_all(&self.epoll, |id| Source::Channel(id).name())?;
        let ids: Vec<_> = self.listeners.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.door.add(id, &self.listeners, &self.epoll)?;
        }
        self.listeners.release_fixed();
        self.bind_all()?;
        self.signals.also(self.callbacks.signals().map(Signal::as_raw))
    }
}

fn get_ready(settings: &Settings, ids: &Ids, handed: &Handed, state: &State) -> Result<Ready, String> {
    let told = |error: io::Error| error.to_string();
    let State { fleet, parts, refused } = state;
    let refused = refused.clone().or_else(|| {
        let silent = handed.header.returned && !fleet.has_failed();
        silent.then(|| "it could not read what it was handed; the log says more".to_owned())
    });
    let workers = settings.workers.count();
    let processes = parts.children.iter().map(|child| Id(child.worker));
    if !fleet.alive().eq(processes) {
        return Err("the state has other workers than processes".into());
    }
    let fleet = Fleet::restore(fleet, Rules::of(settings), ids.clone(), workers, refused, Instant::now())?;
    let adopts = process::adopts_orphans().map_err(told)?;
    let own = OWN_SIGNALS.into_iter().chain(adopts.then_some(Signal::CHLD));
    let kernel = Kernel {
        epoll: Epoll::new().map_err(told)?,
        signals: Signals::watch_again(own.map(Signal::as_raw), &parts.blocked).map_err(told)?,
        adopts,
        outputs: Outputs::prepare(settings.output, &parts.outputs).map_err(told)?,
    };
    let image = Fd::numbered(handed.header.image);
    let claims = Claims::of(parts.fds().chain([&handed.memory, &image])).map_err(told)?;
    process::set_name(&parts.name).map_err(told)?;
    Ok(Ready { kernel, fleet, claims })
}

/// From here on nothing can fail.
fn take(
    ready: Ready,
    state: State,
    upgrading: Upgrading,
    settings: Settings,
    ids: Ids,
    of: impl FnOnce(Settings, Fleet, Kernel, Upgrading) -> Loop,
) -> Loop {
    let Ready { mut kernel, fleet, claims } = ready;
    let parts = state.parts;
    let worker = |(id, fork)| (Id(id), fork);
    inherited::note_again(&parts.inherited);
    for (name, socket) in parts.activated {
        if let Err(error) = activation::take_again(name, socket.take(&claims)) {
            report::error(format_args!("a socket of the service manager's is lost: {error}"));
        }
    }
    desk::open(ids);
    let pids = parts.children.iter().map(|child| (Id(child.worker), child.pid));
    desk::adopt(&fleet, pids, parts.wanted.into_iter().map(worker).collect());
    lines::adopt(parts.lines, &claims);
    ask::go_on_after(parts.asked);
    kernel.outputs.adopt(parts.outputs, &claims);
    let (overload, policy) = (settings.overload, settings.policy);
    let mut primary = of(settings, fleet, kernel, upgrading);
    let children = parts.children.into_iter();
    primary.children = children
        .map(|child| (Id(child.worker), Child::adopt(child.pidfd.take(&claims), child.pid)))
        .collect();
    primary.listeners = parts.listeners.adopt(&claims, Instant::now());
    // Before the lanes, which have lines of it.
    for (id, lanes) in parts.rows.adopt(&claims) {
        primary.fleet.is_not_seen(id, &lanes);
    }
    primary.lanes = parts.lanes.adopt(overload, policy, &claims);
    primary.door = parts.door.adopt(&claims);
    primary.announced = parts.announced.into_iter().map(|(id, listener)| (Id(id), listener)).collect();
    primary.somebody_bound = parts.somebody_bound;
    primary.forks = parts.forks.into_iter().collect();
    primary.leavers = parts
        .leavers
        .into_iter()
        .map(|leaver| Child::adopt(leaver.pidfd.take(&claims), leaver.pid))
        .collect();
    primary.resuming = Some(Ok(()));
    primary
}
