//! From the listening sockets to the lanes: accept → pick → hand off.
//!
//! A listener is accepted from only while somebody has room; otherwise clients wait in its backlog. What was
//! taken back from a worker goes first.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use super::lane::{Connection, Lanes};
use super::listen::{Listener, Listeners};
use super::{Source, lane};
use crate::ipc::message::{LaneId, ListenerId};
use crate::report;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::socket::{self, Trouble};

/// Accepted from one listener before anything else gets its turn.
const BURST: usize = 64;

const FIRST_REST: Duration = Duration::from_millis(5);
const LONGEST_REST: Duration = Duration::from_secs(1);

/// The way of connections, as far as the lanes.
#[derive(Debug, Default)]
pub(crate) struct Door {
    /// Taken back, and not yet given to another.
    waiting: VecDeque<Connection>,
    gates: BTreeMap<ListenerId, Gate>,
}

/// Whether a listener is accepted from.
#[derive(Debug)]
struct Gate {
    interest: Interest,
    /// After an error that is not one connection's: until when it rests, and how long.
    rest: Option<(Instant, Duration)>,
}

impl Door {
    /// Adds a listener, closed until somebody serves it.
    pub(crate) fn add(&mut self, id: ListenerId, listeners: &Listeners, epoll: &Epoll) -> io::Result<()> {
        let Some(listener) = listeners.get(id) else { return Ok(()) };
        epoll.add(&listener.socket, Source::Listener(id).name(), Interest::Nothing)?;
        self.gates.insert(id, Gate { interest: Interest::Nothing, rest: None });
        Ok(())
    }

    /// Forgets a listener that is about to be closed.
    pub(crate) fn remove(&mut self, id: ListenerId, listener: &Listener, epoll: &Epoll) {
        self.gates.remove(&id);
        if let Err(error) = epoll.remove(&listener.socket) {
            report::error(format_args!("taking a listener out of the epoll set: {error}"));
        }
    }

    /// When a listener that rests is to be tried again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.gates.values().filter_map(|gate| gate.rest).map(|(until, _)| until).min()
    }

    /// Accepts a burst from one listener.
    pub(crate) fn accept(
        &mut self,
        id: ListenerId,
        listeners: &Listeners,
        lanes: &mut Lanes,
        epoll: &Epoll,
        now: Instant,
    ) {
        let Some(listener) = listeners.get(id) else { return };
        for _ in 0..BURST {
            if !self.waiting.is_empty() || !lanes.has_room(id) {
                break;
            }
            match socket::accept(&listener.socket) {
                Ok((socket, peer)) => {
                    if let Some(gate) = self.gates.get_mut(&id)
                        && gate.rest.take().is_some()
                    {
                        report::info(format_args!("accepting on {} again", listener.address));
                    }
                    self.hand_off(Connection { socket, listener: id, peer }, lanes, epoll);
                }
                Err(error) => match Trouble::of(&error) {
                    Trouble::Nothing => break,
                    Trouble::Connection => {}
                    Trouble::Resource => {
                        self.rest(id, &listener.address, &error, now);
                        break;
                    }
                },
            }
        }
    }

    /// Takes what workers gave back.
    pub(crate) fn take_back(&mut self, unread: Vec<Connection>, lanes: &mut Lanes, epoll: &Epoll) {
        self.waiting.extend(unread);
        self.give_out(lanes, epoll);
    }

    /// Gives what waits to whoever has room now.
    pub(crate) fn give_out(&mut self, lanes: &mut Lanes, epoll: &Epoll) {
        for connection in std::mem::take(&mut self.waiting) {
            self.hand_off(connection, lanes, epoll);
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
        let idle = self.waiting.is_empty();
        for (id, gate) in &mut self.gates {
            let resting = gate.rest.is_some_and(|(until, _)| until > now);
            let open = idle && !resting && lanes.has_room(*id);
            let interest = if open { Interest::Read } else { Interest::Nothing };
            if interest != gate.interest
                && let Some(listener) = listeners.get(*id)
            {
                epoll.change(&listener.socket, Source::Listener(*id).name(), interest)?;
                gate.interest = interest;
            }
        }
        Ok(())
    }

    /// Lets nobody else in, and hands off all who are: the last thing before the listeners close. Yields how many
    /// there was no room for.
    pub(crate) fn close(&mut self, listeners: &Listeners, lanes: &mut Lanes, epoll: &Epoll) -> usize {
        for (id, listener) in listeners.iter() {
            if let Err(error) = socket::close_the_door(&listener.socket) {
                report::warn(format_args!(
                    "closing {}: {error}; a client that connects at this moment may be reset",
                    listener.address
                ));
            }
            loop {
                match socket::accept(&listener.socket) {
                    Ok((socket, peer)) => {
                        self.hand_off(Connection { socket, listener: id, peer }, lanes, epoll)
                    }
                    Err(error) if Trouble::of(&error) == Trouble::Connection => {}
                    Err(_) => break,
                }
            }
            self.remove(id, listener, epoll);
        }
        std::mem::take(&mut self.waiting).len()
    }

    fn hand_off(&mut self, connection: lane::Connection, lanes: &mut Lanes, epoll: &Epoll) {
        let name = |lane: LaneId| Source::Lane(lane).name();
        if let Err(connection) = lanes.hand_off(connection, epoll, name) {
            self.waiting.push_back(connection);
        }
    }

    /// Said once an episode: the rests get longer, and the first connection that is accepted ends it.
    fn rest(&mut self, id: ListenerId, address: &impl std::fmt::Display, error: &io::Error, now: Instant) {
        let Some(gate) = self.gates.get_mut(&id) else { return };
        let rest = match gate.rest {
            Some((_, rest)) => (rest * 2).min(LONGEST_REST),
            None => {
                report::error(format_args!(
                    "accepting on {address}: {error}; clients wait in the backlog until it can be done again"
                ));
                FIRST_REST
            }
        };
        gate.rest = Some((now + rest, rest));
    }
}
