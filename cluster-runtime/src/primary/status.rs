//! What goes on, for a person or a program that asks: `cluster::status()`, and SIGUSR1.
//!
//! A callback can't reach the loop that runs it. So what only the loop has is noted here as it changes, and put together when
//! somebody asks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use super::slot::Id;
use super::step::Fleet;
use super::{desk, hub, rows};
use crate::event::{Address, Exit, State};
use crate::ipc::channel::BUILD;
use crate::load::Load;
use crate::reload::Reload;
use crate::settings::settings;
use crate::upgrade::Upgrade;

thread_local! {
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Known {
    began: Instant,
    generation: u64,
    stopping: bool,
    workers: Vec<Seen>,
    listeners: Vec<Address>,
    reload: Option<ReloadStatus>,
    last_reload: Option<(Reload, Instant)>,
    upgrading: bool,
    last_upgrade: Option<(Upgrade, Instant)>,
    /// By slot.
    restarts: BTreeMap<usize, u64>,
}

#[derive(Debug)]
struct Seen {
    id: Id,
    slot: usize,
    generation: u64,
    state: State,
    born: Option<Instant>,
    /// When a sign of life was last heard, of the thread that is silent for the longest.
    beat: Option<Instant>,
}

/// What goes on in the cluster: see [`status`]. Its `Display` is what SIGUSR1 prints: a line for the whole, and one for each
/// thing that is told, indented. As data, times are seconds. Node has no word for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The primary's.
    pub pid: u32,
    /// The program, as it was started.
    pub program: PathBuf,
    /// This library, and its version.
    pub build: String,
    /// How long the cluster has been there; after an upgrade, how long this program runs it. `restarts` begin anew then, too.
    #[serde(serialize_with = "seconds")]
    pub uptime: Duration,
    /// That of the last reload or upgrade that succeeded, or 1.
    pub generation: u64,
    /// Whether it was told to end.
    pub stopping: bool,
    /// Those that matter while it runs, in one line.
    pub settings: String,
    /// Where connections and datagrams come from.
    pub listeners: Vec<Address>,
    /// What all workers have done since the cluster began, also those that have ended, and across upgrades. It never becomes less,
    /// but for what is open.
    pub load: Load,
    /// By slot; in a reload, the one that is to leave comes before its replacement.
    pub workers: Vec<WorkerStatus>,
    /// The reload that runs.
    pub reload: Option<ReloadStatus>,
    /// The last one that has ended.
    pub last_reload: Option<LastChange>,
    /// Whether an upgrade is under way: it waits, the program on disk is checked, or this is it, and proves itself.
    pub upgrading: bool,
    /// The last upgrade that has ended.
    pub last_upgrade: Option<LastChange>,
}

/// A worker, in a [`Status`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// See [`Worker::slot`](crate::Worker::slot).
    pub slot: usize,
    /// See [`Worker::id`](crate::Worker::id).
    pub id: u64,
    /// 0 before its birth.
    pub pid: u32,
    /// See [`Worker::generation`](crate::Worker::generation).
    pub generation: u64,
    /// See [`Worker::state`](crate::Worker::state).
    pub state: State,
    /// Since its birth.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// How long ago it gave a sign of life: that of its serving threads which is silent for the longest. See
    /// [`heartbeat_timeout`](crate::Cluster::heartbeat_timeout); `None` before the first, and where none is waited for.
    pub last_beat: Option<Duration>,
    /// How many workers in this slot have ended unasked.
    pub restarts: u64,
    /// What it has done: see [`Worker::load`](crate::Worker::load).
    pub load: Option<Load>,
    /// Bytes that it was sent and has not read. See [`Worker::backlog`](crate::Worker::backlog).
    pub backlog: usize,
}

/// A reload that runs, in a [`Status`]. All counts are of slots.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReloadStatus {
    /// The one that is being made.
    pub generation: u64,
    /// Whose worker is of this generation, and ready.
    pub done: usize,
    /// Whose new worker is not ready yet.
    pub coming: usize,
    /// Whose turn has not come.
    pub left: usize,
}

/// A reload or an upgrade that has ended, in a [`Status`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LastChange {
    /// The one that was made, or tried.
    pub generation: u64,
    /// How long it took.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
    /// How long ago it ended.
    #[serde(serialize_with = "seconds")]
    pub ago: Duration,
    /// Why it came to nothing, if it did.
    pub failure: Option<String>,
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// What goes on in the cluster now; in the primary, from a callback: what SIGUSR1 has it print. `None` elsewhere, and
/// unclustered. Node has no word for it.
pub fn status() -> Option<Status> {
    let now = Instant::now();
    KNOWN.with_borrow(|known| {
        let known = known.as_ref()?;
        let worker = |seen: &Seen| WorkerStatus {
            slot: seen.slot,
            id: seen.id.0,
            pid: desk::get(seen.id.0).map_or(0, |worker| worker.pid()),
            generation: seen.generation,
            state: seen.state,
            age: seen.born.map_or(Duration::ZERO, |born| now.saturating_duration_since(born)),
            // Where one is waited for; on the board it may have come since then.
            last_beat: seen.beat.map(|beat| {
                let noted = now.saturating_duration_since(beat);
                rows::silent(seen.id).map_or(noted, |silent| silent.min(noted))
            }),
            restarts: known.restarts.get(&seen.slot).copied().unwrap_or(0),
            load: rows::load(seen.id).map(Load::from),
            backlog: hub::backlog(seen.id),
        };
        let mut workers: Vec<_> = known.workers.iter().map(worker).collect();
        workers.sort_by_key(|worker| (worker.slot, worker.id));
        Some(Status {
            pid: std::process::id(),
            program: std::env::args_os().next().unwrap_or_default().into(),
            build: BUILD.to_owned(),
            uptime: now.saturating_duration_since(known.began),
            generation: known.generation,
            stopping: known.stopping,
            settings: settings().in_a_line(),
            listeners: known.listeners.clone(),
            load: rows::total().into(),
            workers,
            reload: known.reload,
            last_reload: known.last_reload.as_ref().map(|(reload, at)| LastChange {
                generation: reload.generation(),
                took: reload.took(),
                ago: now.saturating_duration_since(*at),
                failure: reload.result().err().map(ToString::to_string),
            }),
            upgrading: known.upgrading,
            last_upgrade: known.last_upgrade.as_ref().map(|(upgrade, at)| LastChange {
                generation: upgrade.generation(),
                took: upgrade.took(),
                ago: now.saturating_duration_since(*at),
                failure: upgrade.result().err().map(ToString::to_string),
            }),
        })
    })
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { pid, program, build, uptime, generation, .. } = self;
        let program = program.display();
        let stopping = if self.stopping { ", stopping" } else { "" };
        write!(
            f,
            "{program} ({build}), primary {pid}, up {}, generation {generation}{stopping}",
            Time(*uptime)
        )?;
        write!(f, "\n  settings: {}", self.settings)?;
        match self.listeners.as_slice() {
            [] => f.write_str("\n  listening on nothing")?,
            listeners => {
                let listeners: Vec<_> = listeners.iter().map(ToString::to_string).collect();
                write!(f, "\n  listening on {}", listeners.join(", "))?;
            }
        }
        let Load { received, open, served } = self.load;
        write!(f, "\n  connections: {open} open of {received}, requests: {served}")?;
        for WorkerStatus { slot, id, pid, generation, state, age, last_beat, restarts, load, backlog } in
            &self.workers
        {
            let state = format!("{state:?}").to_lowercase();
            write!(
                f,
                "\n  slot {slot}: worker {id}, pid {pid}, generation {generation}, {state}, {} old, {restarts} restarts",
                Time(*age)
            )?;
            if let Some(beat) = last_beat {
                write!(f, ", last beat {beat:.1?} ago")?;
            }
            if let Some(Load { received, open, served }) = load {
                write!(f, ", {open} open of {received}, {served} served")?;
            }
            if *backlog > 0 {
                write!(f, ", {backlog} bytes wait for it")?;
            }
        }
        if let Some(ReloadStatus { generation, done, coming, left }) = self.reload {
            write!(
                f,
                "\n  reload: generation {generation} comes: {done} slots done, {coming} coming, {left} left"
            )?;
        }
        if self.upgrading {
            f.write_str("\n  upgrade: under way")?;
        }
        for (what, last) in [("reload", &self.last_reload), ("upgrade", &self.last_upgrade)] {
            let Some(LastChange { generation, took, ago, failure }) = last else { continue };
            let how = failure.as_ref().map_or_else(|| "serves".to_owned(), |why| format!("failed: {why}"));
            write!(
                f,
                "\n  last {what}: {} ago, generation {generation}, after {took:.1?}, {how}",
                Time(*ago)
            )?;
        }
        Ok(())
    }
}

/// As a person tells it.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
            (0, 0, 0, _) => write!(f, "{:.1?}", self.0),
            (0, 0, minutes, seconds) => write!(f, "{minutes}m {seconds}s"),
            (0, hours, minutes, _) => write!(f, "{hours}h {minutes}m"),
            (days, hours, ..) => write!(f, "{days}d {hours}h"),
        }
    }
}

/// The cluster begins.
pub(super) fn open() {
    KNOWN.set(Some(Known {
        began: Instant::now(),
        generation: 1,
        stopping: false,
        workers: Vec::new(),
        listeners: Vec::new(),
        reload: None,
        last_reload: None,
        upgrading: false,
        last_upgrade: None,
        restarts: BTreeMap::new(),
    }));
}

/// It has ended, or this is a child.
pub(super) fn close() {
    KNOWN.set(None);
}

fn note(what: impl FnOnce(&mut Known)) {
    KNOWN.with_borrow_mut(|known| known.as_mut().map(what));
}

/// Something may have happened to the fleet.
pub(super) fn update(fleet: &Fleet, now: Instant) {
    note(|known| {
        known.generation = fleet.generation();
        known.stopping = fleet.is_told_to_stop();
        known.reload = fleet.progress();
        known.upgrading = fleet.is_upgrading();
        known.workers.clear();
        known.workers.extend(fleet.members().map(|(id, member)| Seen {
            id,
            slot: member.slot,
            generation: member.generation,
            state: member.state(),
            born: member.exists.then_some(member.born),
            beat: fleet.last_beat(id, now).and_then(|silent| now.checked_sub(silent)),
        }));
    });
}

/// These are the addresses that are listened on now.
pub(super) fn listening(addresses: impl Iterator<Item = Address>) {
    note(|known| known.listeners = addresses.collect());
}

/// A worker in this slot has ended.
pub(super) fn ended(slot: usize, exit: &Exit) {
    if !exit.exited_after_disconnect() {
        note(|known| *known.restarts.entry(slot).or_default() += 1);
    }
}

/// A reload has ended.
pub(super) fn reloaded(outcome: &Reload) {
    note(|known| known.last_reload = Some((outcome.clone(), Instant::now())));
}

/// An upgrade has ended, in this program.
pub(super) fn upgraded(outcome: &Upgrade) {
    note(|known| known.last_upgrade = Some((outcome.clone(), Instant::now())));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Signal;
    use crate::primary::step::{Ids, Input, Rules};

    /// Mutation: say so only from the drain on.
    #[test]
    fn who_was_told_to_stop_says_so_before_the_drain() {
        open();
        let rules = Rules { pre_drain: Duration::from_secs(5), ..Rules::usual() };
        let (mut fleet, now, id) = (Fleet::new(rules, Ids::default()), Instant::now(), Id(1));
        let stopping = || KNOWN.with_borrow(|known| known.as_ref().is_some_and(|known| known.stopping));
        for input in [Input::Start { workers: 1 }, Input::Born { id }, Input::Ready { id }] {
            drop(fleet.step(input, now));
        }
        update(&fleet, Instant::now());
        assert!(!stopping());
        drop(fleet.step(Input::Stop { signal: Some(Signal::TERM) }, now));
        update(&fleet, Instant::now());
        assert!(stopping() && !fleet.is_stopping());
        close();
    }

    #[test]
    fn a_status_is_a_block_that_a_person_reads() {
        let worker = |slot, id, generation, state, backlog| WorkerStatus {
            slot,
            id,
            pid: 40 + id as u32,
            generation,
            state,
            age: Duration::from_secs(id * 50),
            last_beat: Some(Duration::from_millis(1500)),
            restarts: 0,
            load: (id == 1).then_some(Load { received: 9, open: 2, served: 30 }),
            backlog,
        };
        let status = Status {
            pid: 7,
            program: "./server".into(),
            build: "cluster 1".into(),
            uptime: Duration::from_secs(90_000),
            generation: 1,
            stopping: false,
            settings: "2 workers".into(),
            listeners: vec![Address::parse("127.0.0.1:80").unwrap(), Address::parse("unix:/a").unwrap()],
            load: Load { received: 90, open: 4, served: 300 },
            workers: vec![worker(0, 1, 1, State::Listening, 3), worker(0, 2, 2, State::Online, 0)],
            reload: Some(ReloadStatus { generation: 2, done: 0, coming: 1, left: 1 }),
            last_reload: Some(LastChange {
                generation: 3,
                took: Duration::from_millis(1500),
                ago: Duration::from_secs(3700),
                failure: Some("the cluster stops".into()),
            }),
            upgrading: true,
            last_upgrade: None,
        };
        assert_eq!(
            status.to_string().lines().collect::<Vec<_>>(),
            [
                "./server (cluster 1), primary 7, up 1d 1h, generation 1",
                "  settings: 2 workers",
                "  listening on 127.0.0.1:80, unix:/a",
                "  connections: 4 open of 90, requests: 300",
                "  slot 0: worker 1, pid 41, generation 1, listening, 50.0s old, 0 restarts, last beat 1.5s ago, 2 open of 9, 30 served, 3 bytes wait for it",
                "  slot 0: worker 2, pid 42, generation 2, online, 1m 40s old, 0 restarts, last beat 1.5s ago",
                "  reload: generation 2 comes: 0 slots done, 1 coming, 1 left",
                "  upgrade: under way",
                "  last reload: 1h 1m ago, generation 3, after 1.5s, failed: the cluster stops",
            ]
        );
    }
}
