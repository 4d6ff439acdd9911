//! The lanes: on each, accepted connections travel to one thread of one worker.
//!
//! The primary holds both ends. On `tx` it sends; through `rx`, a duplicate of the worker's end, it takes back
//! what a worker has not read, be it dead, stopped or full: a packet is read whole by one reader, so no
//! connection is ever in two places. It does so one by one, as others have room: until then they are safest where
//! they are. Since it holds `rx`, the death of a worker does not show on the lane; it is
//! learnt from its pidfd.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::choose::Own;
use super::deadlines::Deadlines;
use super::pace::{Pace, until_next_look};
use super::pick::RoundRobin;
use super::rows;
use super::slot::Id;
use crate::board::View;
use crate::config::{Overload, Policy};
use crate::event::Address;
use crate::ipc::message::{Handoff, LaneId, ListenerId};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::scm;

mod choose;
mod ends;
pub(crate) mod saved;
mod tended;

/// An accepted connection. The primary's copy ends with it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    pub(crate) listener: ListenerId,
    pub(crate) peer: Option<SocketAddr>,
}

/// One for each serving thread, and then some.
const MOST_LANES: usize = 1024;

#[derive(Debug)]
struct Lane {
    worker: Id,
    slot: usize,
    listeners: Vec<ListenerId>,
    /// Those that its worker accepts from by itself.
    tended: Vec<ListenerId>,
    tx: OwnedFd,
    rx: OwnedFd,
    /// The worker has said that it has no room.
    full: bool,
    /// Nothing was heard of its worker for long.
    silent: bool,
    /// The kernel's queue is full; we wait for it to become writable.
    crowded: bool,
    /// The kernel is short of something that no event tells of; to be tried again then.
    rest_until: Option<Instant>,
    /// Nothing will be sent any more.
    ended: bool,
    /// Its reader has left, or is to leave: what it has not read is for others.
    left: Left,
    /// Where its reader counts, if it does.
    view: Option<View>,
    generation: u64,
    pace: Pace,
    /// It is in `watched`.
    watched: bool,
    /// It was read to its end, and nothing was sent since.
    empty: bool,
    /// It was given something while it was late: until it is looked at again, nothing more is taken back.
    returned: bool,
    #[cfg(test)]
    pretended: Option<crate::board::Seen>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Left {
    No,
    /// It may still read.
    Leaving,
    /// It never will.
    Gone,
}

/// How long a lane is left alone after the kernel refused for want of something.
const REST: Duration = Duration::from_millis(20);

const LONGEST_REST: Duration = Duration::from_secs(1);

/// The turn of one lane among those of a listener: workers by slot.
type Turn = (usize, LaneId);

#[derive(Debug, Default)]
struct Ring {
    robin: RoundRobin<Turn>,
    ready: Vec<Turn>,
    /// Those among them whose workers accept by themselves.
    tended: Vec<Turn>,
    /// Of workers that are up; and those of them that are not full.
    serving: BTreeSet<LaneId>,
    unfilled: BTreeSet<LaneId>,
}

/// All lanes, and whose turn it is.
///
/// Nothing that is asked for once a connection, or once a turn of the loop, looks through all of them: [`Lanes::sort`] puts a
/// lane that has changed where it is to be found.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: BTreeMap<LaneId, Lane>,
    rings: BTreeMap<ListenerId, Ring>,
    by_worker: BTreeSet<(Id, LaneId)>,
    resting: Deadlines<LaneId>,
    /// What is on them is for others, and there may be something.
    giving: BTreeSet<LaneId>,
    last: u64,
    /// When to try again to read back, after descriptors were short.
    read_back_at: Option<Instant>,
    /// How long it waited last; said once an episode.
    short: Option<Duration>,
    limitless: bool,
    overload: Overload,
    policy: Policy,
    own: Own,
    /// Lanes on which something may lie unread, and when each is looked at next, in that order as good as.
    watched: VecDeque<(Instant, LaneId)>,
    /// Something has changed since it was last looked whether there is anything to read back.
    stirred: bool,
}

impl Lanes {
    pub(crate) fn new(overload: Overload, policy: Policy) -> Lanes {
        Lanes { overload, policy, ..Lanes::default() }
    }

    /// Opens a lane to a worker. Yields the worker's end of it.
    pub(crate) fn open(
        &mut self,
        worker: Id,
        slot: usize,
        generation: u64,
        listeners: Vec<ListenerId>,
    ) -> io::Result<(LaneId, OwnedFd)> {
        if self.ids_of(worker).len() >= MOST_LANES {
            // Each costs the primary two descriptors: a worker that asks for ever harms only itself.
            return Err(io::Error::other(format!("a worker may have {MOST_LANES} lanes, and this one has")));
        }
        let (tx, rx) = scm::packet_pair()?;
        let theirs = rx.try_clone()?;
        self.last += 1;
        let id = LaneId(self.last);
        let (full, silent, crowded, ended) = (false, false, false, false);
        let (rest_until, left, view) = (None, Left::No, rows::give_line(worker, id));
        let lane = Lane {
            worker,
            slot,
            listeners,
            tended: Vec::new(),
            tx,
            rx,
            full,
            silent,
            crowded,
            rest_until,
            ended,
            left,
            view,
            generation,
            pace: Pace::default(),
            watched: false,
            empty: true,
            returned: false,
            #[cfg(test)]
            pretended: None,
        };
        self.insert(id, lane);
        Ok((id, theirs))
    }

    /// Whether somebody takes connections of this listener now.
    pub(crate) fn has_room(&self, listener: ListenerId) -> bool {
        self.rings.get(&listener).is_some_and(|ring| !ring.ready.is_empty())
    }

    /// Whether connections of this listener are turned away now: each worker that is up has as many as it may. One whose
    /// lane holds as much as the kernel lets it has far more than that.
    pub(crate) fn is_overloaded(&self, listener: ListenerId) -> bool {
        let is_full = |ring: &Ring| !ring.serving.is_empty() && ring.unfilled.is_empty();
        self.overload == Overload::Refuse && !self.limitless && self.rings.get(&listener).is_some_and(is_full)
    }

    /// Gives a connection to the worker that the policy picks, or back if nobody has room.
    ///
    /// Ours is closed as soon as the kernel has taken the message, which holds a reference of its own: kept any
    /// longer, it would hold back the FIN of a connection that the worker closes.
    pub(crate) fn hand_off(
        &mut self,
        connection: Connection,
        address: Option<&Address>,
        epoll: &Epoll,
        name: impl Fn(LaneId) -> u64,
        now: Instant,
    ) -> Result<(), Connection> {
        let packet = Handoff { listener: connection.listener, peer: connection.peer }.encode();
        loop {
            let Some(id) = self.choose(&connection, address) else { return Err(connection) };
            let Some(lane) = self.lanes.get_mut(&id) else { return Err(connection) };
            match scm::send(&lane.tx, &packet, Some(connection.socket.as_fd())) {
                Ok(_) => {
                    lane.empty = false;
                    lane.pace.hand_off();
                    if lane.pace.is_late() {
                        // It may have been taken from there just now, for a listener that nobody else serves: read back at once it would
                        // come here again, and so on without an end, while its worker stands still.
                        lane.returned = true;
                        self.giving.remove(&id);
                    }
                    if self.policy.moves() && !std::mem::replace(&mut lane.watched, true) {
                        self.watched.push_back((now + until_next_look(Duration::ZERO), id));
                    }
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    lane.crowded = epoll.add(&lane.tx, name(id), Interest::Write).is_ok();
                    lane.rest_until = (!lane.crowded).then_some(now + REST);
                }
                // Too many descriptors on their way (ETOOMANYREFS), or no memory: the socket is writable all the
                // while, so no event would tell when it is over.
                Err(_) => lane.rest_until = Some(now + REST),
            }
            self.sort(id);
        }
    }

    /// The kernel's queue of a lane has room again.
    pub(crate) fn writable(&mut self, id: LaneId, epoll: &Epoll) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if std::mem::take(&mut lane.crowded)
            && let Err(error) = epoll.remove(&lane.tx)
        {
            crate::report::error(format_args!("taking a lane out of the epoll set: {error}"));
        }
        self.sort(id);
    }

    /// When something is to be tried again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let look = self.watched.front().map(|(at, _)| *at);
        self.retries().chain(look).min()
    }

    fn retries(&self) -> impl Iterator<Item = Instant> {
        self.resting.first().into_iter().chain(self.read_back_at)
    }

    /// Tries it.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.watch(now);
        if self.retries().min().is_none_or(|deadline| deadline > now) {
            return;
        }
        self.read_back_at = None;
        self.stirred = true;
        while let Some(id) = self.resting.take_due(now) {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.rest_until = None;
            }
            self.sort(id);
        }
    }

    /// A worker has no room: what it has not read is for others.
    pub(crate) fn full(&mut self, worker: Id, id: LaneId) {
        // A lane that has ended was left to its worker, which takes all of it, room or not.
        // So is each at a stop: a worker that says so has not yet heard that it is to go.
        let limitless = self.limitless;
        if let Some(lane) = self.of(worker, id).filter(|lane| !lane.ended && !limitless) {
            lane.full = true;
            self.sort(id);
        }
    }

    /// It has room again.
    pub(crate) fn room(&mut self, worker: Id, id: LaneId) {
        if let Some(lane) = self.of(worker, id) {
            lane.full = false;
            self.sort(id);
        }
    }

    /// A worker is suspected to have stalled: what it has not read is for others. Or it is trusted again.
    pub(crate) fn suspect(&mut self, worker: Id, silent: bool) {
        for id in self.ids_of(worker) {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.silent = silent;
            }
            self.sort(id);
        }
    }

    /// Whether something has changed since it was last looked whether there is anything to read back.
    pub(crate) fn is_stirred(&self) -> bool {
        self.stirred
    }

    /// Whether a worker is to read from this lane, and it is its own.
    pub(crate) fn is_read(&self, worker: Id, id: LaneId) -> bool {
        self.lanes.get(&id).is_some_and(|lane| lane.worker == worker && !lane.ended)
    }

    /// Ends a lane: its worker reads what is on it, and then its end. What others have room for goes to them.
    pub(crate) fn end(&mut self, worker: Id, id: LaneId) {
        let Some(lane) = self.of(worker, id) else { return };
        if lane.end() {
            lane.left = Left::Leaving;
            self.sort(id);
        }
    }

    /// Ends all lanes of a worker that is to drain.
    pub(crate) fn end_all(&mut self, worker: Id) {
        for id in self.ids_of(worker) {
            self.end(worker, id);
        }
    }

    /// Ends the lanes on which nothing more will come, since all who were let in by their listeners have been handed
    /// off: all but those of the `pending`. Each worker keeps what is on its own, for there will be no others.
    pub(crate) fn end_for_good(&mut self, pending: &BTreeSet<ListenerId>) {
        for id in self.lanes.keys().copied().collect::<Vec<_>>() {
            if let Some(lane) = self.lanes.get_mut(&id)
                && !lane.listeners.iter().any(|listener| pending.contains(listener))
            {
                lane.end();
            }
            self.sort(id);
        }
    }

    /// From now on every lane is taken for one with room: a worker on its way out takes what it is given, past its
    /// limit.
    pub(crate) fn disregard_limits(&mut self) {
        self.limitless = true;
        let trusted = self.lanes.values().filter(|lane| !lane.ended && !lane.silent);
        let trusted: BTreeSet<_> = trusted.flat_map(|lane| lane.listeners.iter().copied()).collect();
        for id in self.lanes.keys().copied().collect::<Vec<_>>() {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.full = false;
                // Where there is nobody else it may yet read: its drain has a deadline, too.
                lane.silent &= lane.listeners.iter().all(|listener| trusted.contains(listener));
            }
            self.sort(id);
        }
    }

    /// A worker reads no more from a lane.
    pub(crate) fn gone(&mut self, worker: Id, id: LaneId) {
        if let Some(lane) = self.of(worker, id) {
            lane.end();
            lane.left = Left::Gone;
            self.sort(id);
        }
    }

    /// A worker is dead: it reads no more from any.
    pub(crate) fn all_gone(&mut self, worker: Id) {
        for id in self.ids_of(worker) {
            self.gone(worker, id);
        }
    }

    /// Reads back one connection that is for others, if there are others with room for it; or that is to be turned away.
    pub(crate) fn read_back(&mut self, now: Instant) -> Option<Connection> {
        if self.read_back_at.is_some() || !self.stirred {
            return None;
        }
        let mut next = LaneId(0);
        while let Some(id) = self.giving.range(next..).next().copied() {
            next = LaneId(id.0 + 1);
            if !self.is_for_others(id) {
                continue;
            }
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let gone = lane.left == Left::Gone;
            match lane.read_back() {
                Ok(Some(connection)) => {
                    lane.pace.take_back();
                    self.short = None;
                    return Some(connection);
                }
                Ok(None) if gone => self.remove(id),
                // There will be nothing until something is sent, and nothing is while it is not ready.
                Ok(None) => self.set_empty(id),
                Err(error) => {
                    let rest = match self.short {
                        Some(rest) => (rest * 2).min(LONGEST_REST),
                        None => {
                            crate::report::warn(format_args!(
                                "connections that workers have not read wait to be read back: {error}"
                            ));
                            REST
                        }
                    };
                    self.short = Some(rest);
                    self.read_back_at = Some(now + rest);
                    return None;
                }
            }
        }
        self.stirred = false;
        None
    }

    /// A listener is closed: nobody will serve what came from it.
    pub(crate) fn forget(&mut self, listener: ListenerId) {
        self.rings.remove(&listener);
        for lane in self.lanes.values_mut() {
            lane.listeners.retain(|served| *served != listener);
        }
        self.stirred = true;
    }

    /// Whether somebody will take connections of this listener as soon as the kernel does.
    pub(crate) fn will_have_room(&self, listener: ListenerId) -> bool {
        let held_up = |lane: &Lane| !lane.ended && (lane.crowded || lane.rest_until.is_some());
        self.lanes.values().any(|lane| held_up(lane) && lane.listeners.contains(&listener))
    }

    /// How many connections nobody will read: the cluster has ended.
    pub(crate) fn unread(&mut self) -> usize {
        let read = |lane: &Lane| std::iter::from_fn(|| lane.read_back().ok().flatten()).count();
        self.giving.clear();
        std::mem::take(&mut self.lanes).values().map(read).sum()
    }

    fn of(&mut self, worker: Id, id: LaneId) -> Option<&mut Lane> {
        // A worker may name another's lane, by mistake or not.
        self.lanes.get_mut(&id).filter(|lane| lane.worker == worker)
    }

    fn ids_of(&self, worker: Id) -> Vec<LaneId> {
        let all = (worker, LaneId(0))..=(worker, LaneId(u64::MAX));
        self.by_worker.range(all).map(|(_, id)| *id).collect()
    }

    fn insert(&mut self, id: LaneId, lane: Lane) {
        self.by_worker.insert((lane.worker, id));
        self.lanes.insert(id, lane);
        self.sort(id);
    }

    /// Forgets one that is out of all rings: nobody reads from it any more.
    fn remove(&mut self, id: LaneId) {
        self.giving.remove(&id);
        self.resting.set(id, None);
        if let Some(lane) = self.lanes.remove(&id) {
            self.by_worker.remove(&(lane.worker, id));
        }
    }

    fn set_empty(&mut self, id: LaneId) {
        self.giving.remove(&id);
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.empty = true;
        }
    }

    /// Puts a lane where it is to be found, now that something about it has changed; and nowhere else.
    fn sort(&mut self, id: LaneId) {
        self.stirred = true;
        let Some(lane) = self.lanes.get(&id) else { return };
        let serving = !lane.ended && !lane.silent;
        let unfilled = serving && !lane.full && !lane.crowded;
        let ready = unfilled && lane.rest_until.is_none();
        let turn = (lane.slot, id);
        for listener in &lane.listeners {
            let ring = self.rings.entry(*listener).or_default();
            tended::place(&mut ring.ready, turn, ready);
            tended::place(&mut ring.tended, turn, ready && lane.tended.contains(listener));
            place(&mut ring.serving, id, serving);
            place(&mut ring.unfilled, id, unfilled);
        }
        self.resting.set(id, lane.rest_until);
        place(&mut self.giving, id, lane.gives());
        if ready
            && self.policy.moves()
            && let Some(lane) = self.lanes.get_mut(&id)
            && lane.pace.unread() > 0
            && !std::mem::replace(&mut lane.watched, true)
        {
            // It was out of turn, where nobody looks at what it has not read.
            self.watched.push_front((Instant::now(), id));
        }
    }
}

fn place<T: Ord>(set: &mut BTreeSet<T>, element: T, belongs: bool) {
    if belongs {
        set.insert(element);
    } else {
        set.remove(&element);
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
