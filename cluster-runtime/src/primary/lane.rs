//! The lanes: on each, accepted connections travel to one thread of one worker.
//!
//! The primary holds both ends. On `tx` it sends; through `rx`, a duplicate of the worker's end, it takes back
//! what a worker has not read, be it dead, stopped or full: a packet is read whole by one reader, so no
//! connection is ever in two places. Since it holds `rx`, the death of a worker does not show on the lane; it is
//! learnt from its pidfd.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use super::pick::RoundRobin;
use super::slot::Id;
use crate::ipc::channel::crowded;
use crate::ipc::message::{Handoff, LaneId, ListenerId};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::scm;

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
    tx: OwnedFd,
    rx: OwnedFd,
    /// The worker has said that it has no room.
    full: bool,
    /// The kernel's queue is full; we wait for it to become writable.
    crowded: bool,
    /// Nothing will be sent any more.
    ended: bool,
}

/// The turn of one lane among those of a listener: workers by slot.
type Turn = (usize, LaneId);

#[derive(Debug, Default)]
struct Ring {
    robin: RoundRobin<Turn>,
    ready: Vec<Turn>,
}

/// All lanes, and whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: BTreeMap<LaneId, Lane>,
    rings: BTreeMap<ListenerId, Ring>,
    last: u64,
}

impl Lanes {
    /// Opens a lane to a worker. Yields the worker's end of it.
    pub(crate) fn open(
        &mut self,
        worker: Id,
        slot: usize,
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
        let lane = Lane { worker, slot, listeners, tx, rx, full: false, crowded: false, ended: false };
        self.lanes.insert(id, lane);
        self.sort(id);
        Ok((id, theirs))
    }

    /// Whether somebody takes connections of this listener now.
    pub(crate) fn has_room(&self, listener: ListenerId) -> bool {
        self.rings.get(&listener).is_some_and(|ring| !ring.ready.is_empty())
    }

    /// Gives a connection to the worker whose turn it is, or back if nobody has room.
    ///
    /// Ours is closed as soon as the kernel has taken the message, which holds a reference of its own: kept any
    /// longer, it would hold back the FIN of a connection that the worker closes.
    pub(crate) fn hand_off(
        &mut self,
        connection: Connection,
        epoll: &Epoll,
        name: impl Fn(LaneId) -> u64,
    ) -> Result<(), Connection> {
        let packet = Handoff { listener: connection.listener, peer: connection.peer }.encode();
        loop {
            let Some(ring) = self.rings.get_mut(&connection.listener) else { return Err(connection) };
            let Some((_, id)) = ring.robin.pick(&ring.ready) else { return Err(connection) };
            let Some(lane) = self.lanes.get_mut(&id) else { return Err(connection) };
            match scm::send(&lane.tx, &packet, Some(connection.socket.as_fd())) {
                Ok(_) => return Ok(()),
                Err(error) if crowded(&error) => {
                    lane.crowded = true;
                    if let Err(error) = epoll.add(&lane.tx, name(id), Interest::Write) {
                        // Nobody would tell us when there is room; the others go on.
                        crate::report::error(format_args!("waiting for room on a lane: {error}"));
                    }
                }
                Err(error) => {
                    lane.ended = true;
                    let worker = lane.worker.0;
                    crate::report::error(format_args!("handing a connection to worker {worker}: {error}"));
                }
            }
            self.sort(id);
        }
    }

    /// The kernel's queue of a lane has room again. Yields the listeners that may be accepted from.
    pub(crate) fn writable(&mut self, id: LaneId, epoll: &Epoll) -> Vec<ListenerId> {
        let Some(lane) = self.lanes.get_mut(&id) else { return Vec::new() };
        if std::mem::take(&mut lane.crowded)
            && let Err(error) = epoll.remove(&lane.tx)
        {
            crate::report::error(format_args!("taking a lane out of the epoll set: {error}"));
        }
        self.sort(id)
    }

    /// A worker has no room: yields what it has not read.
    pub(crate) fn full(&mut self, worker: Id, id: LaneId) -> Vec<Connection> {
        let Some(lane) = self.of(worker, id) else { return Vec::new() };
        lane.full = true;
        let unread = lane.reclaim();
        self.sort(id);
        unread
    }

    /// It has room again. Yields the listeners that may be accepted from.
    pub(crate) fn room(&mut self, worker: Id, id: LaneId) -> Vec<ListenerId> {
        let Some(lane) = self.of(worker, id) else { return Vec::new() };
        lane.full = false;
        self.sort(id)
    }

    /// Ends a lane: its worker reads what is on it, and then its end. Yields what is to be given to others,
    /// which is nothing where there are no others.
    pub(crate) fn end(&mut self, worker: Id, id: LaneId) -> Vec<Connection> {
        let Some(lane) = self.of(worker, id) else { return Vec::new() };
        if std::mem::replace(&mut lane.ended, true) {
            return Vec::new();
        }
        let listeners = lane.listeners.clone();
        self.sort(id);
        let others = listeners.iter().all(|listener| self.has_room(*listener));
        let Some(lane) = self.of(worker, id) else { return Vec::new() };
        let unread = if others { lane.reclaim() } else { Vec::new() };
        if let Err(error) = rustix::net::shutdown(&lane.tx, rustix::net::Shutdown::Write) {
            crate::report::error(format_args!("ending a lane of worker {}: {error}", worker.0));
        }
        unread
    }

    /// Ends all lanes of a worker that is to drain.
    pub(crate) fn end_all(&mut self, worker: Id) -> Vec<Connection> {
        self.ids_of(worker).into_iter().flat_map(|id| self.end(worker, id)).collect()
    }

    /// Forgets the lanes of a worker that is dead. Yields what it had not read.
    pub(crate) fn reclaim(&mut self, worker: Id) -> Vec<Connection> {
        let mut unread = Vec::new();
        for id in self.ids_of(worker) {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.ended = true;
                unread.extend(lane.reclaim());
            }
            self.sort(id);
            // Closing `tx` takes it out of the epoll set: nobody else holds that end.
            self.lanes.remove(&id);
        }
        unread
    }

    fn of(&mut self, worker: Id, id: LaneId) -> Option<&mut Lane> {
        // A worker may name another's lane, by mistake or not.
        self.lanes.get_mut(&id).filter(|lane| lane.worker == worker)
    }

    fn ids_of(&self, worker: Id) -> Vec<LaneId> {
        self.lanes.iter().filter(|(_, lane)| lane.worker == worker).map(|(id, _)| *id).collect()
    }

    /// Puts a lane into its rings, or takes it out. Yields its listeners.
    fn sort(&mut self, id: LaneId) -> Vec<ListenerId> {
        let Some(lane) = self.lanes.get(&id) else { return Vec::new() };
        let ready = !(lane.full || lane.crowded || lane.ended);
        let turn = (lane.slot, id);
        for listener in &lane.listeners {
            let ring = &mut self.rings.entry(*listener).or_default().ready;
            match (ring.binary_search(&turn), ready) {
                (Err(at), true) => ring.insert(at, turn),
                (Ok(at), false) => drop(ring.remove(at)),
                _ => {}
            }
        }
        lane.listeners.clone()
    }
}

impl Lane {
    /// Reads back what the worker has not.
    fn reclaim(&mut self) -> Vec<Connection> {
        let (mut unread, mut packet, mut fds) = (Vec::new(), [0; Handoff::SIZE], Vec::new());
        loop {
            match scm::receive(&self.rx, &mut packet, &mut fds) {
                Ok(received) if received.bytes == 0 => return unread,
                Ok(received) => {
                    if received.lost_fds {
                        crate::report::error(format_args!(
                            "a connection that worker {} had not read was lost: the primary's limit of open files \
                             (RLIMIT_NOFILE) is reached; raise it",
                            self.worker.0
                        ));
                    }
                    if let (Some(handoff), Some(socket)) =
                        (Handoff::decode(&packet[..received.bytes]), fds.pop())
                    {
                        unread.push(Connection { socket, listener: handoff.listener, peer: handoff.peer });
                    }
                    fds.clear();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return unread,
                Err(error) => {
                    crate::report::error(format_args!(
                        "reading back a lane of worker {}: {error}",
                        self.worker.0
                    ));
                    return unread;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
