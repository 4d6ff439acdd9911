//! The listening sockets: bound for whoever asks first, shared by all, held until nobody has a use for them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::slot::Id;
use crate::config::Settings;
use crate::event::Address;
use crate::ipc::message::{BoundTo, Key, Kind, ListenerId, Site};
use crate::sys::socket::{self, Manner};
use crate::sys::socket_file::SocketFile;
use crate::sys::{activation, inherited};

mod places;
pub(crate) mod saved;

pub(crate) use self::places::Place;

/// A socket that connections, or datagrams, come from.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: OwnedFd,
    pub(crate) address: Address,
    identity: u64,
    /// Who has a use for it. Closed when there is nobody.
    holders: BTreeMap<Id, Holder>,
    /// Other processes may have it too: whoever gave it to a worker, or to the program.
    shared: bool,
    /// Bound before the first worker was there, and until the end.
    fixed: bool,
    file: Option<SocketFile>,
    /// What it was asked to hold of clients that wait.
    backlog: u32,
    /// Workers have it too, to accept from by themselves.
    handed_out: bool,
    /// Of the slot whose workers do, where each has its own.
    place: Option<Place>,
}

/// A worker that holds a listener; or, when it is dead, its place, kept for its successor.
#[derive(Debug)]
struct Holder {
    slot: usize,
    /// How often it has it: it may ask for it again before its word arrives that it gives it up.
    times: u32,
    /// Not for longer.
    until: Option<Instant>,
}

impl Listener {
    /// Accepts one connection from it, and never waits for one: whoever has it too may have let it block again.
    pub(crate) fn accept(&self) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        if self.shared || self.handed_out {
            socket::keep_from_waiting(&self.socket)?;
        }
        socket::accept(&self.socket)
    }

    /// Whether somebody else may have it too.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }
}

/// Far more than anybody needs; a worker that binds for ever is to meet an end of it.
const MOST_BOUND: usize = 4096;

/// Of a worker that has given it up. A worker that ends does so too, on its way; but what it had is its successor's, and
/// clients wait for that one.
const LINGER: Duration = Duration::from_millis(200);

/// Of a worker that is up and has not asked for what its predecessor had: it may bind one thing after the other.
const SETTLE: Duration = Duration::from_secs(5);

/// All listening sockets.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    listeners: BTreeMap<ListenerId, Listener>,
    keys: BTreeMap<Key, ListenerId>,
    last: u32,
    /// Something has changed since it was last looked who has a use for what.
    stirred: bool,
    /// When that is to be looked at again: as of the last look, or sooner since somebody has given one up. One who has asked for
    /// it again makes that a look for nothing.
    look_at: Option<Instant>,
}

/// A socket, and whether it is new.
pub(crate) type Found = (BoundTo, bool);

/// A worker, and the slot it fills.
pub(crate) type Who = (usize, Id);

impl Listeners {
    /// Binds these, before there is any worker, until the end; those that an image before this one has bound are found. Yields
    /// the others.
    pub(crate) fn bind_all(&mut self, settings: &Settings) -> io::Result<Vec<BoundTo>> {
        let mut all = Vec::new();
        for (index, address) in settings.addresses.iter().enumerate() {
            let nth = settings.addresses[..index].iter().filter(|other| *other == address).count();
            let nth = u32::try_from(nth).unwrap_or(u32::MAX);
            let key = Key { site: Site::Address(address.clone()), nth, ipv6_only: None, mode: None };
            let id = match self.keys.get(&key) {
                Some(known) => *known,
                None => {
                    let told = |error: io::Error| {
                        io::Error::new(error.kind(), format!("listening on {address}: {error}"))
                    };
                    let (bound, new) = self.open(key, socket::BACKLOG).map_err(told)?;
                    let id = bound.listener;
                    // Two of them may be one that the program was given.
                    all.extend(new.then_some(bound));
                    id
                }
            };
            if let Some(listener) = self.listeners.get_mut(&id) {
                listener.fixed = true;
            }
        }
        Ok(all)
    }

    /// None is held until the end any more but what is [bound](Listeners::bind_all) again: another image may name others.
    pub(crate) fn release_fixed(&mut self) {
        self.listeners.values_mut().for_each(|listener| listener.fixed = false);
        self.stirred = true;
    }

    /// Binds, or finds what was bound for another worker.
    pub(crate) fn bind(
        &mut self,
        who: Who,
        key: Key,
        backlog: u32,
        settings: &Settings,
    ) -> io::Result<Found> {
        if let Some(id) = self.keys.get(&key) {
            return self.found(*id, who);
        }
        if let Site::Address(address) = &key.site
            && !settings.addresses.is_empty()
        {
            // All that may be asked for is bound already: this is something else, or in another way.
            return Err(settings.forbid(address));
        }
        self.has_room()?;
        let found = self.open(key, backlog)?;
        self.hold(found.0.listener, who);
        Ok(found)
    }

    /// Takes over a socket that a worker has, or finds the one it is: workers that were started with one
    /// inherited socket all send that one.
    pub(crate) fn adopt(&mut self, who: Who, socket: OwnedFd) -> io::Result<Found> {
        socket::prepare_adopted(&socket)?;
        self.take_over(who, socket)
    }

    fn take_over(&mut self, who: Who, socket: OwnedFd) -> io::Result<Found> {
        if let Some(known) = self.known(&socket)? {
            return self.found(known.listener, who);
        }
        self.has_room()?;
        let bound = self.insert(socket, None, true)?;
        self.hold(bound.listener, who);
        Ok((bound, true))
    }

    fn has_room(&self) -> io::Result<()> {
        match self.listeners.iter().filter(|(id, listener)| !listener.is_beside(**id)).count() < MOST_BOUND {
            true => Ok(()),
            false => {
                Err(io::Error::other(format!("a cluster may bind {MOST_BOUND} sockets, and this one has")))
            }
        }
    }

    /// The listener that has this very socket.
    fn known(&self, socket: &OwnedFd) -> io::Result<Option<BoundTo>> {
        let identity = socket::identity(socket)?;
        let known = self.listeners.iter().find(|(_, listener)| listener.identity == identity);
        Ok(known.map(|(id, listener)| BoundTo { listener: *id, address: listener.address.clone() }))
    }

    /// A socket that the program was started with: others may have it, so its file is not ours to remove.
    fn open_given(&mut self, key: Key, socket: OwnedFd) -> io::Result<Found> {
        match key.site.kind() {
            Kind::Stream => socket::prepare_adopted(&socket)?,
            Kind::Datagram => socket::prepare_adopted_udp(&socket)?,
        }
        // By its name, by its number and by its address it is the same.
        let found = match self.known(&socket)? {
            Some(bound) => (bound, false),
            None => (self.insert(socket, None, true)?, true),
        };
        self.keys.insert(key, found.0.listener);
        Ok(found)
    }

    fn open(&mut self, key: Key, backlog: u32) -> io::Result<Found> {
        let manner = Manner { ipv6_only: key.ipv6_only, reuse_port: false };
        let given = match &key.site {
            Site::Address(address) => activation::at(address)?,
            Site::Activated(name, kind) => Some(activation::called(name, *kind == Kind::Stream)?),
            Site::Inherited(number, _) => Some(inherited::duplicate(*number)?),
        };
        if let Some(socket) = given {
            return self.open_given(key, socket);
        }
        let (socket, file) = match &key.site {
            Site::Address(Address::Tcp(address)) => (socket::listen_tcp(*address, backlog, manner)?, None),
            Site::Address(Address::Udp(address)) => (socket::bind_udp(*address, manner)?, None),
            Site::Address(Address::Unix(path)) => SocketFile::listen(path, backlog, key.mode)?,
            Site::Inherited(..) | Site::Activated(..) => {
                return Err(io::Error::from_raw_os_error(libc::EBADF));
            }
        };
        let bound = self.insert(socket, file, false)?;
        if let Some(listener) = self.listeners.get_mut(&bound.listener) {
            listener.backlog = backlog;
        }
        self.keys.insert(key, bound.listener);
        Ok((bound, true))
    }

    /// A worker gives one up.
    pub(crate) fn unbind(&mut self, (_, worker): Who, id: ListenerId, now: Instant) {
        let listener = self.listeners.get_mut(&id);
        if let Some(holder) = listener.and_then(|listener| listener.holders.get_mut(&worker)) {
            holder.times = holder.times.saturating_sub(1);
            if holder.times == 0 {
                holder.until = Some(now + LINGER);
                self.look_by(now + LINGER);
            }
        }
    }

    /// Somebody needs an address: no use is waited for any longer of those that were given up by all. Yields whether there
    /// are such.
    pub(crate) fn hasten(&mut self, now: Instant) -> bool {
        let mut some = false;
        for listener in self.listeners.values_mut() {
            if listener.holders.values().all(|holder| holder.times == 0 && holder.until.is_some()) {
                listener.holders.values_mut().for_each(|holder| holder.until = Some(now));
                some |= !listener.fixed;
            }
        }
        self.look_by(now);
        some
    }

    /// A worker is up: what its predecessor had, and it does not ask for, is given up.
    ///
    /// `stays` tells of each worker whether it lives and does not leave: in a reload two do so in one slot, and neither is
    /// the other's predecessor until one is told to go.
    pub(crate) fn succeeded(&mut self, slot: usize, stays: impl Fn(Id) -> bool, now: Instant) {
        let mut look = false;
        for listener in self.listeners.values_mut() {
            let others = listener.holders.iter_mut().filter(|(worker, _)| !stays(**worker));
            for (_, holder) in others.filter(|(_, holder)| holder.slot == slot) {
                holder.until.get_or_insert(now + SETTLE);
                look = true;
            }
        }
        if look {
            self.look_by(now + SETTLE);
        }
    }

    /// A worker is dead: what it had, also what it had just given up, is kept for its successor. Where that one is up already, as
    /// in a reload, it has its time to bind from now on: nobody else may come for whom it would be kept.
    pub(crate) fn bereave(&mut self, (_, worker): Who, successor_is_up: bool, now: Instant) {
        for listener in self.listeners.values_mut() {
            if let Some(holder) = listener.holders.get_mut(&worker) {
                // Nor is it in anybody's way who needs the address.
                (holder.times, holder.until) = (0, successor_is_up.then_some(now + SETTLE));
                self.stirred = true;
            }
        }
    }

    /// Takes out those that nobody has a use for any more. `lives` tells of each worker whether it does, and whether,
    /// dead, it may yet have a successor.
    pub(crate) fn abandoned(
        &mut self,
        now: Instant,
        lives: impl Fn(Id) -> bool,
        somebody_comes: impl Fn() -> bool,
    ) -> Vec<(ListenerId, Listener)> {
        if !self.stirred && self.deadline().is_none_or(|deadline| deadline > now) {
            return Vec::new();
        }
        let somebody_comes = somebody_comes();
        let held = |worker: &Id, holder: &Holder| match holder.until {
            Some(until) => until > now,
            None => somebody_comes || lives(*worker),
        };
        let left = |listener: &mut Listener| {
            listener.holders.retain(|worker, holder| held(worker, holder));
            listener.holders.is_empty() && !listener.fixed
        };
        let mut left: Vec<_> = self
            .listeners
            .extract_if(.., |id, listener| !listener.is_beside(*id) && left(listener))
            .collect();
        if !left.is_empty() {
            left.extend(self.left_over());
        }
        self.keys.retain(|_, id| self.listeners.contains_key(id));
        // As long as a place is kept for somebody who may come, whoever comes or does not is to be looked for.
        let kept = |(worker, holder): (&Id, &Holder)| holder.until.is_none() && !lives(*worker);
        self.stirred = self.listeners.values().flat_map(|listener| &listener.holders).any(kept);
        let holders = self.listeners.values().flat_map(|listener| listener.holders.values());
        self.look_at = holders.filter_map(|holder| holder.until).min();
        left
    }

    /// When somebody has held one for long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.look_at
    }

    fn look_by(&mut self, at: Instant) {
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }

    pub(crate) fn is_held_by(&self, id: ListenerId, (_, worker): Who) -> bool {
        let holder = self.listeners.get(&id).and_then(|listener| listener.holders.get(&worker));
        holder.is_some_and(|holder| holder.times > 0)
    }

    /// Closes one that can't be used.
    pub(crate) fn forget(&mut self, id: ListenerId) {
        self.keys.retain(|_, listener| *listener != id);
        if let Some(listener) = self.listeners.remove(&id) {
            listener.close();
        }
        self.left_over().into_iter().for_each(|(_, listener)| listener.close());
    }

    pub(crate) fn get(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ListenerId, &Listener)> {
        self.listeners.iter().map(|(id, listener)| (*id, listener))
    }

    /// Closes all of them and removes the socket files that we made. Never called in a child.
    pub(crate) fn close(&mut self) {
        self.keys.clear();
        std::mem::take(&mut self.listeners).into_values().for_each(Listener::close);
    }

    fn insert(&mut self, socket: OwnedFd, file: Option<SocketFile>, shared: bool) -> io::Result<BoundTo> {
        // A path may be longer than the kernel tells.
        let address = match &file {
            Some(file) => Address::Unix(file.path().to_owned()),
            None => Address::of(&socket)?,
        };
        let identity = socket::identity(&socket)?;
        self.last += 1;
        let id = ListenerId(self.last);
        let (holders, fixed) = (BTreeMap::new(), false);
        self.listeners.insert(
            id,
            Listener {
                socket,
                address: address.clone(),
                identity,
                holders,
                shared,
                fixed,
                file,
                backlog: socket::BACKLOG,
                handed_out: false,
                place: None,
            },
        );
        Ok(BoundTo { listener: id, address })
    }

    fn found(&mut self, id: ListenerId, who: Who) -> io::Result<Found> {
        self.hold(id, who);
        let listener = self.get(id).ok_or_else(|| io::Error::other("the listening socket was closed"))?;
        Ok((BoundTo { listener: id, address: listener.address.clone() }, false))
    }

    fn hold(&mut self, id: ListenerId, (slot, worker): Who) {
        let Some(listener) = self.listeners.get_mut(&id) else { return };
        let holder = listener.holders.entry(worker).or_insert(Holder { slot, times: 0, until: None });
        holder.times += 1;
        holder.until = None;
    }
}

impl Listener {
    /// Closes it, and removes the file that we made.
    pub(crate) fn close(self) {
        if self.handed_out && !self.shared {
            // A worker that has it still, and is slow to notice, would let clients wait for nobody.
            socket::listen_no_more(&self.socket);
        }
        if let Some(file) = self.file {
            file.remove();
        }
    }
}

#[cfg(test)]
#[path = "listen_tests.rs"]
mod tests;
