//! What workers say, and what is done about it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::heart::Sign;
use super::hub::{self, Heard};
use super::listen::Found;
use super::slot::{Id, Life};
use super::step::Input;
use super::{Loop, Turn, desk, rows, status};
use crate::ipc::channel::{Packet, decode};
use crate::ipc::frame::Kind;
use crate::ipc::message::{BoundTo, Call, Key, ListenerId, Site, ToPrimary, ToWorker};
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
            self.obey()?;
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
            ToPrimary::Bind { call, key, backlog } => self.bind(id, call, key, backlog)?,
            ToPrimary::Unbind { listener } => self.unbind(id, listener),
            ToPrimary::Adopt { call } => self.adopt(id, call, packet.fd)?,
            ToPrimary::Listen { call, listeners, by_itself, counts } => {
                if !counts {
                    // Its page did not arrive, or could not be mapped: what it never writes there would look like a lane that
                    // nobody reads.
                    rows::close(id);
                }
                self.listen(id, call, listeners, by_itself)?
            }
            ToPrimary::Accepts { lane, listeners } => self.lanes.tend(id, lane, listeners),
            ToPrimary::Full { lane } => self.lanes.full(id, lane),
            ToPrimary::Room { lane } => self.lanes.room(id, lane),
            ToPrimary::Unlisten { lane } => self.unlisten(id, lane)?,
            ToPrimary::Gone { lane } => self.gone(id, lane)?,
            // Of a row that is not known here, after an upgrade and the way back, nothing else would ever be heard.
            ToPrimary::Beat { lane, board_ms: Some(_), .. } if !rows::are_beats_seen(id, lane) => {}
            ToPrimary::Beat { lane, every_ms, board_ms } => {
                self.beat(id, lane, board_ms.unwrap_or(every_ms))?;
            }
            ToPrimary::Still => self.step(Input::Sign(id, Sign::Over { lane: None }))?,
            ToPrimary::Ready => self.is_ready(id, Vec::new())?,
            ToPrimary::Proven => self.step(Input::Proven { id })?,
            ToPrimary::Worn { why } => self.step(Input::Worn { id, why })?,
            ToPrimary::Leave { voluntary } => self.step(Input::Leave { id, voluntary })?,
            ToPrimary::Stderr => self.outputs.handed_over(id),
        }
        Ok(())
    }

    fn bind(&mut self, id: Id, call: Call, key: Key, backlog: u32) -> Turn {
        if self.fleet.member(id).is_none() {
            // It died while it waited for another's fate: nobody would hold what is bound for it.
            return Ok(());
        }
        self.somebody_bound = true;
        if self.fleet.is_stopping() {
            let result = match key.site {
                // Its lane will be empty and at its end, and it goes as any other does; an error would be its last word.
                Site::Address(address) if address.is_stream() => {
                    Ok(BoundTo { listener: ListenerId(0), address })
                }
                _ => Err((&io::Error::other("the cluster stops")).into()),
            };
            hub::tell(id, &ToWorker::Bound { call, result }, None);
            return Ok(());
        }
        // It was refused, and asks on: that is what it makes of it.
        self.release_held(id)?;
        let booting = !self.fleet.has_served();
        if let Some(Some(first)) = self.held.refused.get(&key)
            && booting
            && self.is_undecided(*first)
        {
            self.held.waiting.push((id, call, key, backlog));
            self.held.until.get_or_insert(Instant::now() + HOLD);
            return Ok(());
        }
        let who = (self.slot_of(id), id);
        let mut found = self.listeners.bind(who, key.clone(), backlog, &self.settings);
        let now = Instant::now();
        if found.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
            && self.listeners.hasten(now)
        {
            // Dropped a moment ago, as another: it may be the one that is in the way.
            self.close_abandoned(now);
            found = self.listeners.bind(who, key.clone(), backlog, &self.settings);
        }
        if found.is_err() && booting && self.is_undecided(id) {
            self.held.refused.entry(key).or_insert(Some(id));
        }
        self.answer_bound(id, call, found)
    }

    fn adopt(&mut self, id: Id, call: Call, socket: Option<OwnedFd>) -> Turn {
        self.somebody_bound = true;
        let socket = socket.ok_or_else(|| io::Error::other("the socket did not arrive"));
        let found = socket.and_then(|socket| self.listeners.adopt((self.slot_of(id), id), socket));
        self.answer_bound(id, call, found)
    }

    fn unbind(&mut self, id: Id, listener: ListenerId) {
        self.announced.remove(&(id, listener));
        // On its way out a worker gives up all it has. Whether that is for good shows when it is gone.
        if self.fleet.member(id).is_some_and(|member| !member.life.is_leaving()) {
            self.listeners.unbind((self.slot_of(id), id), listener, Instant::now());
        }
    }

    /// Binds what is to be bound before there is any worker.
    pub(super) fn bind_all(&mut self) -> io::Result<()> {
        for bound in self.listeners.bind_all(&self.settings)? {
            self.opened(&bound)?;
        }
        Ok(())
    }

    /// Closes the listeners that nobody has a use for.
    pub(super) fn close_abandoned(&mut self, now: Instant) {
        if self.fleet.is_stopping() {
            // All are being closed, each when who has come to it is handed off.
            return;
        }
        let lives = |id| self.fleet.member(id).is_some();
        for (id, listener) in self.listeners.abandoned(now, lives, || self.fleet.somebody_comes()) {
            if !listener.is_beside(id) {
                report::info(format_args!("{} is closed: no worker has a use for it", listener.address));
            }
            self.door.remove(id, &listener, &self.epoll);
            self.lanes.forget(id);
            listener.close();
            self.note_listeners();
        }
    }

    pub(super) fn note_listeners(&self) {
        let known = self.listeners.iter().filter(|(id, listener)| !listener.is_beside(*id));
        status::listening(known.map(|(_, listener)| listener.address.clone()));
    }

    /// Whether nothing is known of it yet but that it lives. One whose channel has ended is about to make it known.
    fn is_undecided(&self, id: Id) -> bool {
        self.fleet.member(id).is_some_and(|member| {
            matches!(
                member.life,
                Life::Starting { .. } | Life::Online { .. } | Life::Draining { ready: None, told: false, .. }
            )
        })
    }

    fn answer_bound(&mut self, id: Id, call: Call, found: io::Result<Found>) -> Turn {
        let bound = found.and_then(|(bound, new)| {
            if new && let Err(error) = self.opened(&bound) {
                // Nobody would ever be accepted from it.
                self.listeners.forget(bound.listener);
                return Err(error);
            }
            // Datagrams don't pass through us: whoever asks gets the socket itself.
            let socket = match self.listeners.get(bound.listener) {
                Some(listener) if !bound.address.is_stream() => match listener.socket.try_clone() {
                    Ok(socket) => Some(socket),
                    Err(error) => {
                        // The worker has nothing, and so nothing to give up.
                        self.listeners.unbind((self.slot_of(id), id), bound.listener, Instant::now());
                        return Err(error);
                    }
                },
                _ => None,
            };
            Ok((bound, socket))
        });
        match bound {
            Ok((bound, socket)) => {
                let (listener, serves) = (bound.listener, socket.is_some());
                hub::tell(id, &ToWorker::Bound { call, result: Ok(bound) }, socket);
                if serves && self.fleet.member(id).is_some_and(|member| !member.life.is_leaving()) {
                    self.is_ready(id, vec![listener])?;
                }
            }
            Err(error) => hub::tell(id, &ToWorker::Bound { call, result: Err((&error).into()) }, None),
        }
        Ok(())
    }

    fn opened(&mut self, bound: &BoundTo) -> io::Result<()> {
        report::info(format_args!("listening on {}", bound.address));
        self.note_listeners();
        self.door.add(bound.listener, &self.listeners, &self.epoll)
    }

    fn listen(&mut self, id: Id, call: Call, mut listeners: Vec<ListenerId>, by_itself: bool) -> Turn {
        // As many as it may hold: each is looked at again and again.
        listeners.sort_unstable();
        listeners.dedup();
        let Some(member) = self.fleet.member(id) else { return Ok(()) };
        let (leaving, slot, generation) = (member.life.is_leaving(), member.slot, member.generation);
        let foreign = |listener: &ListenerId| !self.listeners.is_held_by(*listener, (slot, id));
        let datagrams = |listener: &ListenerId| {
            self.listeners.get(*listener).is_some_and(|listener| !listener.address.is_stream())
        };
        let opened = match listeners.iter().find(|listener| foreign(listener) || datagrams(listener)) {
            Some(_) if !leaving => Err(io::Error::new(io::ErrorKind::NotFound, "no such listening socket")),
            // Nothing comes on it, whatever it names.
            _ if leaving => self.lanes.open(id, slot, generation, Vec::new()),
            _ => self.lanes.open(id, slot, generation, listeners.clone()),
        };
        let (lane, theirs) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                hub::tell(id, &ToWorker::Lane { call, result: Err((&error).into()), line: None }, None);
                return Ok(());
            }
        };
        if by_itself && !leaving {
            self.hand_out(id, slot, call, &listeners);
        }
        let line = rows::line_of(id, lane);
        hub::tell(id, &ToWorker::Lane { call, result: Ok(lane), line }, Some(theirs));
        if leaving {
            // It came up while it was told to go: an empty lane that has ended lets it go as any other would.
            self.lanes.end(id, lane);
            return Ok(());
        }
        self.opened_lane(id, lane)?;
        self.is_ready(id, listeners)
    }

    /// It is up, and listens to these. That is told of first: in a reload, much follows from it.
    fn is_ready(&mut self, id: Id, listeners: Vec<ListenerId>) -> Turn {
        let effects = self.decide(Input::Ready { id });
        self.outputs.ready(id);
        for listener in listeners {
            self.announce(id, listener);
        }
        self.perform(effects)?;
        let stays = |id| self.fleet.member(id).is_some_and(|member| !member.life.is_leaving());
        if stays(id) {
            self.listeners.succeeded(self.slot_of(id), stays, Instant::now());
        }
        self.release_held(id)
    }

    fn announce(&mut self, id: Id, listener: ListenerId) {
        if self.announced.insert((id, listener))
            && let Some(address) = self.listeners.get(listener).map(|listener| listener.address.clone())
        {
            let worker = desk::worker(id);
            let (slot, pid) = (worker.slot(), worker.pid());
            report::info(format_args!("worker {} (slot {slot}, pid {pid}) listens on {address}", id.0));
            self.callbacks.listened(&worker, &address);
        }
    }

    fn slot_of(&self, id: Id) -> usize {
        self.fleet.member(id).map_or(usize::MAX, |member| member.slot)
    }

    /// A worker's fate is decided: what waited for it is asked again.
    pub(super) fn release_held(&mut self, decided: Id) -> Turn {
        let mut known = false;
        for first in self.held.refused.values_mut().filter(|first| **first == Some(decided)) {
            (*first, known) = (None, true);
        }
        if known { self.ask_again() } else { Ok(()) }
    }

    /// Nobody's fate is waited for any longer.
    pub(super) fn release_all_held_now(&mut self) -> Turn {
        if self.held.until.is_none() {
            return Ok(());
        }
        self.held.refused.values_mut().for_each(|first| *first = None);
        self.ask_again()
    }

    /// The time to wait for anybody's fate is over.
    pub(super) fn release_all_held(&mut self, now: Instant) -> Turn {
        if self.held.until.is_some_and(|until| until <= now) {
            self.held.refused.values_mut().for_each(|first| *first = None);
            self.ask_again()?;
        }
        Ok(())
    }

    fn ask_again(&mut self) -> Turn {
        self.held.until = None;
        for (id, call, key, backlog) in std::mem::take(&mut self.held.waiting) {
            self.bind(id, call, key, backlog)?;
        }
        Ok(())
    }
}
