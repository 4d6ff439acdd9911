//! What workers say, and what is done about it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::hub::{self, Heard};
use super::listen::{Found, Key};
use super::slot::{Id, Life};
use super::step::Input;
use super::{Loop, Turn, desk};
use crate::ipc::channel::{Packet, decode};
use crate::ipc::frame::Kind;
use crate::ipc::message::{BoundTo, Call, ListenerId, ToPrimary, ToWorker};
use crate::report;

/// Questions that wait for another worker's fate.
///
/// When the first generation can't bind, each worker would print the same error, as often as there are
/// workers. So the first that asked is told alone; the others are answered when it has shown what it makes of it:
/// if it ends, so does the cluster, and if it comes up in another way they may too.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Who was refused first; nobody any more once it is known what he makes of it.
    refused: BTreeMap<Key, Option<Id>>,
    waiting: Vec<(Id, Call, Key, u32)>,
    /// Not for longer: whoever waits has a time of its own.
    until: Option<Instant>,
}

/// Long enough for a program to say why it ends, and to end.
const HOLD: Duration = Duration::from_secs(2);

impl Held {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until
    }
}

impl Loop {
    pub(super) fn listen_to(&mut self, id: Id) -> Turn {
        let (packets, ended) = match hub::serve(id) {
            Heard::Packets(packets) => (packets, false),
            Heard::End(packets, error) => {
                if let Some(error) = error {
                    report::error(format_args!("the channel of worker {}: {error}; it is closed", id.0));
                }
                (packets, true)
            }
        };
        for packet in packets {
            self.heard(id, packet)?;
        }
        if ended {
            hub::ignore(id, &self.epoll);
            self.step(Input::Closed { id })?;
        }
        Ok(())
    }

    pub(super) fn heard(&mut self, id: Id, packet: Packet) -> Turn {
        if packet.head.kind != Kind::Control {
            self.heard_user(id, packet);
            return Ok(());
        }
        let message: ToPrimary = match decode(&packet.body) {
            Ok(message) => message,
            Err(error) => {
                report::error(format_args!("worker {} said what the primary can't read: {error}", id.0));
                return Ok(());
            }
        };
        match message {
            ToPrimary::Online => self.step(Input::Online { id })?,
            ToPrimary::Bind { call, address, nth, backlog } => self.bind(id, call, (address, nth), backlog),
            ToPrimary::Unbind { .. } => {}
            ToPrimary::Adopt { call } => self.adopt(id, call, packet.fd),
            ToPrimary::Listen { call, listeners } => self.listen(id, call, listeners)?,
            ToPrimary::Full { lane } => self.lanes.full(id, lane),
            ToPrimary::Room { lane } => self.lanes.room(id, lane),
            ToPrimary::Unlisten { lane } => self.lanes.end(id, lane),
            ToPrimary::Gone { lane } => self.lanes.gone(id, lane),
            ToPrimary::Ready => self.is_ready(id, Vec::new())?,
            ToPrimary::Proven => self.step(Input::Proven { id })?,
            ToPrimary::Leave { voluntary } => self.step(Input::Leave { id, voluntary })?,
        }
        Ok(())
    }

    fn bind(&mut self, id: Id, call: Call, key: Key, backlog: u32) {
        self.somebody_bound = true;
        if self.fleet.is_stopping() {
            // Its lane will be empty and at its end, and it goes as any other does; an error would be its last word.
            let nowhere = BoundTo { listener: ListenerId(0), address: key.0 };
            hub::tell(id, &ToWorker::Bound { call, result: Ok(nowhere) }, None);
            return;
        }
        // It was refused, and asks on: that is what it makes of it.
        self.release_held(id);
        let booting = !self.fleet.has_served();
        if let Some(Some(first)) = self.held.refused.get(&key)
            && booting
            && self.is_undecided(*first)
        {
            self.held.waiting.push((id, call, key, backlog));
            self.held.until.get_or_insert(Instant::now() + HOLD);
            return;
        }
        let found = self.listeners.bind(key.clone(), backlog);
        if found.is_err() && booting && self.is_undecided(id) {
            self.held.refused.entry(key).or_insert(Some(id));
        }
        self.answer_bound(id, call, found);
    }

    fn adopt(&mut self, id: Id, call: Call, socket: Option<OwnedFd>) {
        self.somebody_bound = true;
        let socket = socket.ok_or_else(|| io::Error::other("the socket did not arrive"));
        let found = socket.and_then(|socket| self.listeners.adopt((self.slot_of(id), id), socket));
        self.answer_bound(id, call, found);
    }

    /// Whether nothing is known of it yet but that it lives.
    fn is_undecided(&self, id: Id) -> bool {
        self.fleet
            .member(id)
            .is_some_and(|member| matches!(member.life, Life::Starting { .. } | Life::Online { .. }))
    }

    fn answer_bound(&mut self, id: Id, call: Call, found: io::Result<Found>) {
        let bound = found.and_then(|(bound, new)| {
            if new && let Err(error) = self.opened(&bound) {
                // Nobody would ever be accepted from it.
                self.listeners.forget(bound.listener);
                return Err(error);
            }
            Ok(bound)
        });
        let result = bound.map_err(|error| (&error).into());
        hub::tell(id, &ToWorker::Bound { call, result }, None);
    }

    fn opened(&mut self, bound: &BoundTo) -> io::Result<()> {
        report::info(format_args!("listening on {}", bound.address));
        self.door.add(bound.listener, &self.listeners, &self.epoll)
    }

    fn listen(&mut self, id: Id, call: Call, listeners: Vec<ListenerId>) -> Turn {
        let Some(member) = self.fleet.member(id) else { return Ok(()) };
        let leaving = matches!(member.life, Life::Draining { .. } | Life::Killed { .. });
        let slot = member.slot;
        let opened = match listeners.iter().find(|listener| self.listeners.get(**listener).is_none()) {
            Some(_) if !leaving => Err(io::Error::new(io::ErrorKind::NotFound, "no such listening socket")),
            _ => self.lanes.open(id, slot, listeners.clone()),
        };
        let (lane, theirs) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                hub::tell(id, &ToWorker::Lane { call, result: Err((&error).into()) }, None);
                return Ok(());
            }
        };
        hub::tell(id, &ToWorker::Lane { call, result: Ok(lane) }, Some(theirs));
        if leaving {
            // It came up while it was told to go: an empty lane that has ended lets it go as any other would.
            self.lanes.end(id, lane);
            return Ok(());
        }
        self.is_ready(id, listeners)
    }

    /// It is up, and listens to these. That is told of first: in a reload, much follows from it.
    fn is_ready(&mut self, id: Id, listeners: Vec<ListenerId>) -> Turn {
        let effects = self.decide(Input::Ready { id });
        for listener in listeners {
            if self.announced.insert((id, listener))
                && let Some(address) = self.listeners.get(listener).map(|listener| listener.address.clone())
            {
                let worker = desk::worker(id);
                let (slot, pid) = (worker.slot(), worker.pid());
                report::info(format_args!("worker {} (slot {slot}, pid {pid}) listens on {address}", id.0));
                self.callbacks.listened(&worker, &address);
            }
        }
        self.perform(effects)?;
        self.release_held(id);
        for (listener, gone) in self.listeners.succeeded(self.slot_of(id), id) {
            report::info(format_args!(
                "{} is closed: whoever gave it has a successor that did not",
                gone.address
            ));
            self.door.remove(listener, &gone, &self.epoll);
            self.lanes.forget(listener);
        }
        Ok(())
    }

    fn slot_of(&self, id: Id) -> usize {
        self.fleet.member(id).map_or(usize::MAX, |member| member.slot)
    }

    /// A worker's fate is decided: what waited for it is asked again.
    pub(super) fn release_held(&mut self, decided: Id) {
        let mut known = false;
        for first in self.held.refused.values_mut().filter(|first| **first == Some(decided)) {
            (*first, known) = (None, true);
        }
        if known {
            self.ask_again();
        }
    }

    /// The time to wait for anybody's fate is over.
    pub(super) fn release_all_held(&mut self, now: Instant) {
        if self.held.until.is_some_and(|until| until <= now) {
            self.held.refused.values_mut().for_each(|first| *first = None);
            self.ask_again();
        }
    }

    fn ask_again(&mut self) {
        self.held.until = None;
        for (id, call, key, backlog) in std::mem::take(&mut self.held.waiting) {
            self.bind(id, call, key, backlog);
        }
    }
}
