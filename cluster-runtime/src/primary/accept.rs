//! From the listening sockets to the lanes: accept → pick → hand off.
//!
//! A listener is accepted from only while somebody has room; otherwise clients wait in its backlog. What was
//! taken back from a worker goes first.
//!
//! A connection that finds its worker at once is no turn of the loop: what the loop looks at in each, worker by worker,
//! would cost more than the connection.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use super::lane::{Connection, Lanes};
use super::listen::{Listener, Listeners};
use super::{Loop, Source, desk, hub};
use crate::event::Address;
use crate::ipc::message::{LaneId, ListenerId};
use crate::report;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::half_open;
use crate::sys::socket::{self, Trouble};

pub(crate) mod saved;

/// Accepted at the end, at most: more than any backlog, and an end to an error that would come for ever.
const MOST_AT_CLOSE: usize = 65_536;

/// How long who is half way in is waited for when the door is closed: longer than a way there and back mostly takes, and no longer than
/// a stop may take for those who never come.
const HALF_WAY: Duration = Duration::from_millis(500);

const FIRST_REST: Duration = Duration::from_millis(5);
const LONGEST_REST: Duration = Duration::from_secs(1);

/// The way of connections, as far as the lanes.
#[derive(Debug, Default)]
pub(crate) struct Door {
    /// Accepted or read back, and there was nobody who had room after all; a few at most.
    waiting: BTreeMap<ListenerId, VecDeque<Connection>>,
    gates: BTreeMap<ListenerId, Gate>,
    lost: usize,
    /// Nobody else is let in; those who are, are handed off.
    closing: bool,
    /// While it closes: whose clients can't be accepted for want of something, and when that is tried again; not after `until`.
    starved: BTreeSet<ListenerId>,
    retry_at: Option<Instant>,
    until: Option<Instant>,
    /// Likewise for those who are half way in.
    late_until: Option<Instant>,
    told_starving: bool,
    /// Something has changed that the loop is to see to before it waits again.
    stirred: bool,
}

/// Whether a listener is accepted from.
#[derive(Debug)]
struct Gate {
    interest: Interest,
    /// After an error that is not one connection's.
    rest_until: Option<Instant>,
    /// How long it rested last; until a connection is accepted again.
    episode: Option<Duration>,
    /// How many were turned away since somebody was last handed off.
    refused: usize,
}

impl Gate {
    fn there_is_room(&mut self, address: &Address) {
        let count = std::mem::take(&mut self.refused);
        report::info(format_args!("there is room on {address} again; {count} connections were turned away"));
    }
}

impl Door {
    /// Adds a listener, closed until somebody serves it.
    pub(crate) fn add(&mut self, id: ListenerId, listeners: &Listeners, epoll: &Epoll) -> io::Result<()> {
        let Some(listener) = listeners.get(id) else { return Ok(()) };
        if !listener.address.is_stream() {
            // Each worker reads from it by itself.
            return Ok(());
        }
        epoll.add(&listener.socket, Source::Listener(id).name(), Interest::Nothing)?;
        self.gates
            .insert(id, Gate { interest: Interest::Nothing, rest_until: None, episode: None, refused: 0 });
        Ok(())
    }

    /// Forgets a listener that is about to be closed. Clients who have come and were not served are dropped, as when any
    /// program closes its listener.
    pub(crate) fn remove(&mut self, id: ListenerId, listener: &Listener, epoll: &Epoll) {
        drop(self.waiting.remove(&id));
        self.ignore(id, listener, epoll);
    }

    fn ignore(&mut self, id: ListenerId, listener: &Listener, epoll: &Epoll) {
        self.stirred = true;
        if self.gates.remove(&id).is_some()
            && let Err(error) = epoll.remove(&listener.socket)
        {
            report::error(format_args!("taking a listener out of the epoll set: {error}"));
        }
    }

    /// When a listener that rests is to be tried again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.gates.values().filter_map(|gate| gate.rest_until).chain(self.retry_at).min()
    }

    /// Accepts one connection from a listener that has some.
    ///
    /// Not as many as there are: to be told by accept(2) that there are no more costs as much as ten waits, since it has made
    /// a socket and a descriptor before it looks.
    pub(crate) fn accept(
        &mut self,
        id: ListenerId,
        listeners: &Listeners,
        lanes: &mut Lanes,
        epoll: &Epoll,
        now: Instant,
    ) {
        let Some(listener) = listeners.get(id) else {
            self.stirred = true;
            return;
        };
        let of = listener.serves(id);
        if !lanes.leave_to_us(of, listener.slot()) || self.waiting.contains_key(&of) {
            if socket::listens(&listener.socket) {
                // Its gate is about to be closed.
                self.stirred = true;
            } else {
                // Nobody asked about it: one who accepts from it by himself has shut it down, which is told for ever.
                self.is_shut_down(id, listener, epoll);
            }
            return;
        }
        match listener.accept() {
            Ok((socket, peer)) => {
                if let Some(gate) = self.gates.get_mut(&id)
                    && gate.episode.take().is_some()
                {
                    report::info(format_args!("accepting on {} again", listener.address));
                }
                self.hand_off(Connection { socket, listener: of, peer }, listeners, lanes, epoll, now);
            }
            // It listens no more: somebody who has it too has shut it down. It would be reported for ever.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                self.is_shut_down(id, listener, epoll)
            }
            Err(error) => match Trouble::of(&error) {
                Trouble::Nothing | Trouble::Connection => {}
                // Without a descriptor to spare the kernel does not come to say so, and a rest would be none.
                Trouble::Resource if !socket::listens(&listener.socket) => {
                    self.is_shut_down(id, listener, epoll)
                }
                Trouble::Resource => self.rest(id, &listener.address, &error, now),
            },
        }
    }

    fn is_shut_down(&mut self, id: ListenerId, listener: &Listener, epoll: &Epoll) {
        report::error(format_args!("accepting on {}: it was shut down", listener.address));
        // Who was accepted before that, and waits for somebody who has room, waits on.
        self.ignore(id, listener, epoll);
    }

    /// Gives what waits, and what is read back from workers that have no use for it, to whoever has room now.
    pub(crate) fn give_out(&mut self, listeners: &Listeners, lanes: &mut Lanes, epoll: &Epoll, now: Instant) {
        let waiting = std::mem::take(&mut self.waiting).into_values().flatten();
        for connection in waiting {
            self.hand_off(connection, listeners, lanes, epoll, now);
        }
        while let Some(connection) = lanes.read_back(now) {
            // Unless its listener was closed meanwhile: nobody will ever serve it.
            if listeners.get(connection.listener).is_some() {
                self.hand_off(connection, listeners, lanes, epoll, now);
            }
        }
    }

    /// Accepts from each listener exactly while it can be served.
    pub(crate) fn arm(
        &mut self,
        listeners: &Listeners,
        lanes: &Lanes,
        epoll: &Epoll,
        now: Instant,
    ) -> io::Result<()> {
        for (id, gate) in &mut self.gates {
            gate.rest_until = gate.rest_until.filter(|until| *until > now);
            let Some(listener) = listeners.get(*id) else { continue };
            let of = listener.serves(*id);
            let heard = lanes.leave_to_us(of, listener.slot());
            if gate.refused > 0 && !heard && lanes.has_room(of) {
                // Those who accept by themselves go on, and nobody will be handed off.
                gate.there_is_room(&listener.address);
            }
            let open = gate.rest_until.is_none() && !self.waiting.contains_key(&of) && heard;
            let interest = if open { Interest::Read } else { Interest::Nothing };
            if interest != gate.interest {
                epoll.change(&listener.socket, Source::Listener(*id).name(), interest)?;
                gate.interest = interest;
            }
        }
        Ok(())
    }

    /// Lets nobody else in; who is, is to be handed off before `until`. What is not only ours is left as it is: whoever else has it goes on.
    pub(crate) fn close(
        &mut self,
        listeners: &Listeners,
        lanes: &mut Lanes,
        epoll: &Epoll,
        now: Instant,
        until: Instant,
    ) {
        self.closing = true;
        (self.until, self.late_until) = (Some(until), Some(until.min(now + HALF_WAY)));
        lanes.disregard_limits();
        for (id, listener) in listeners.iter().filter(|(_, listener)| listener.address.is_stream()) {
            if self.gates.remove(&id).is_some()
                && let Err(error) = epoll.remove(&listener.socket)
            {
                report::error(format_args!("taking a listener out of the epoll set: {error}"));
            }
            if !listener.is_shared()
                && let Err(error) = socket::close_the_door(&listener.socket)
            {
                report::warn(format_args!(
                    "closing {}: {error}; a client that connects at this moment may be reset",
                    listener.address
                ));
            }
        }
    }

    /// Whether it is closed, and not everybody who is in has been handed off.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Hands off who is in already, as fast as the lanes take them. Yields the listeners of which somebody is left, whom
    /// a lane will take yet; when there are none, it is closed.
    pub(crate) fn empty(
        &mut self,
        listeners: &Listeners,
        lanes: &mut Lanes,
        epoll: &Epoll,
        now: Instant,
    ) -> BTreeSet<ListenerId> {
        self.give_out(listeners, lanes, epoll, now);
        let ours = |listener: &Listener| listener.address.is_stream() && !listener.is_shared();
        let rests = self.retry_at.is_some_and(|at| at > now);
        if !rests {
            (self.starved, self.retry_at) = (BTreeSet::new(), None);
        }
        for (id, listener) in listeners.iter().filter(|(_, listener)| !rests && ours(listener)) {
            let of = listener.serves(id);
            // Looked for first: who comes in after that is among those who are accepted.
            if self.late_until.is_some_and(|until| until > now) && is_anybody_half_way(&listener.address) {
                self.starved.insert(of);
                self.retry_at = Some(now + FIRST_REST);
            }
            // One more than there is room for, at most: whether there is one shows only when it is accepted.
            for _ in 0..MOST_AT_CLOSE {
                if self.waiting.contains_key(&of) {
                    break;
                }
                match listener.accept() {
                    Ok((socket, peer)) => {
                        self.hand_off(
                            Connection { socket, listener: of, peer },
                            listeners,
                            lanes,
                            epoll,
                            now,
                        );
                    }
                    Err(error) => match Trouble::of(&error) {
                        Trouble::Connection => {}
                        Trouble::Nothing => break,
                        // A Unix socket that was shut down, and is empty.
                        Trouble::Resource if error.raw_os_error() == Some(libc::EINVAL) => break,
                        // Nobody is in it: without a descriptor to spare that is no reason to keep all workers from ending.
                        Trouble::Resource if !socket::may_have_clients(&listener.socket) => break,
                        // Closed now, it would reset them; and there will be some again, as others are handed off or end.
                        Trouble::Resource => {
                            self.starve(of, &listener.address, &error, now);
                            break;
                        }
                    },
                }
            }
        }
        let will_be_taken =
            |listener: &ListenerId| lanes.has_room(*listener) || lanes.will_have_room(*listener);
        let pending: BTreeSet<_> =
            self.waiting.keys().chain(&self.starved).copied().filter(will_be_taken).collect();
        if pending.is_empty() {
            self.retry_at = None;
            self.closing = false;
            self.lost += std::mem::take(&mut self.waiting).values().map(VecDeque::len).sum::<usize>();
        }
        pending
    }

    /// How many connections were accepted and given to nobody: there was nobody.
    pub(crate) fn lost(&self) -> usize {
        self.lost
    }

    fn hand_off(
        &mut self,
        connection: Connection,
        listeners: &Listeners,
        lanes: &mut Lanes,
        epoll: &Epoll,
        now: Instant,
    ) {
        let name = |lane: LaneId| Source::Lane(lane).name();
        let id = connection.listener;
        let (gate, address) = (self.gates.get_mut(&id), listeners.get(id).map(|listener| &listener.address));
        match (lanes.hand_off(connection, address, epoll, name, now), gate, address) {
            (Ok(()), Some(gate @ Gate { refused: 1.., .. }), Some(address)) => gate.there_is_room(address),
            (Ok(()), ..) => {}
            (Err(_), Some(gate), Some(address)) if lanes.is_overloaded(id) => {
                gate.refused += 1;
                if gate.refused == 1 {
                    report::warn(format_args!(
                        "every worker is full: connections to {address} are turned away"
                    ));
                }
            }
            (Err(connection), ..) => {
                self.stirred = true;
                self.waiting.entry(id).or_default().push_back(connection);
            }
        }
    }

    fn starve(&mut self, id: ListenerId, address: &impl std::fmt::Display, error: &io::Error, now: Instant) {
        if self.until.is_none_or(|until| until <= now) {
            return;
        }
        if !std::mem::replace(&mut self.told_starving, true) {
            report::error(format_args!(
                "accepting on {address}, which is to be closed: {error}; it is tried again until drain_timeout is over"
            ));
        }
        self.starved.insert(id);
        self.retry_at = Some(now + FIRST_REST);
    }

    /// Said once an episode: the rests get longer, and the first connection that is accepted ends it.
    fn rest(&mut self, id: ListenerId, address: &impl std::fmt::Display, error: &io::Error, now: Instant) {
        let Some(gate) = self.gates.get_mut(&id) else { return };
        let rest = match gate.episode {
            Some(rest) => (rest * 2).min(LONGEST_REST),
            None => {
                report::error(format_args!(
                    "accepting on {address}: {error}; clients wait in the backlog until it can be done again"
                ));
                FIRST_REST
            }
        };
        (gate.rest_until, gate.episode) = (Some(now + rest), Some(rest));
        self.stirred = true;
    }
}

/// To its client a connection is there before it is in the backlog: closed in between, it would be reset. Where the kernel does not
/// tell, nobody is.
fn is_anybody_half_way(address: &Address) -> bool {
    matches!(address, Address::Tcp(address) if half_open::is_anybody_at(*address).unwrap_or(false))
}

impl Loop {
    /// Waits for what the loop is to hear of, and lets connections in meanwhile. Leaves in `names` what has happened; nothing
    /// where it is time for a turn.
    pub(super) fn wait(&mut self, now: Instant, names: &mut Vec<u64>) -> io::Result<()> {
        let until = self.deadline();
        let mut now = now;
        loop {
            // To look after a lane may have become due by what came.
            let until = until.into_iter().chain(self.lanes.deadline()).min();
            self.epoll.wait(until.map(|at| at.saturating_duration_since(now)), names)?;
            now = Instant::now();
            let listener = |name: &u64| matches!(Source::of(*name), Source::Listener(_));
            if until.is_some_and(|at| at <= now) || names.is_empty() || !names.iter().all(listener) {
                return Ok(());
            }
            self.door.stirred = false;
            for name in names.drain(..) {
                if let Source::Listener(id) = Source::of(name) {
                    self.door.accept(id, &self.listeners, &mut self.lanes, &self.epoll, now);
                }
            }
            // A policy of the user's own may have asked for something, or sent it: what does not go alone goes at a turn's end.
            if self.door.stirred || self.lanes.is_stirred() || desk::is_asked() || hub::is_stirred() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
