//! The listening sockets: bound for whoever asks first, shared by all, held until the cluster ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;

use super::slot::Id;
use crate::event::Address;
use crate::ipc::message::{BoundTo, ListenerId};
use crate::sys::socket;
use crate::sys::socket_file::SocketFile;

/// What a worker asks for: an address, and how often it has asked for it before. Port 0 asked for twice is two
/// ports; the same for every worker.
pub(crate) type Key = (Address, u32);

/// A socket that connections come from.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: OwnedFd,
    pub(crate) address: Address,
    identity: u64,
    /// The workers that gave it to us; empty for one that we bound, which stays.
    givers: BTreeSet<Id>,
    file: Option<SocketFile>,
}

/// All listening sockets.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    listeners: BTreeMap<ListenerId, Listener>,
    keys: BTreeMap<Key, ListenerId>,
    last: u32,
}

/// A socket, and whether it is new.
pub(crate) type Found = (BoundTo, bool);

impl Listeners {
    /// Binds, or finds what was bound for another worker.
    pub(crate) fn bind(&mut self, key: Key, backlog: u32) -> io::Result<Found> {
        if let Some(id) = self.keys.get(&key) {
            return self.found(*id);
        }
        let (socket, file) = match &key.0 {
            Address::Tcp(address) => (socket::listen_tcp(*address, backlog)?, None),
            Address::Unix(path) => {
                let (socket, file) = SocketFile::listen(path, backlog)?;
                (socket, Some(file))
            }
        };
        let bound = self.insert(socket, file)?;
        self.keys.insert(key, bound.listener);
        Ok((bound, true))
    }

    /// Takes over a socket that a worker has, or finds the one it is: workers that were started with one
    /// inherited socket all send that one.
    pub(crate) fn adopt(&mut self, giver: Id, socket: OwnedFd) -> io::Result<Found> {
        socket::prepare_adopted(&socket)?;
        let identity = socket::identity(&socket)?;
        let known = self.listeners.iter_mut().find(|(_, listener)| listener.identity == identity);
        if let Some((id, listener)) = known {
            if !listener.givers.is_empty() {
                listener.givers.insert(giver);
            }
            let id = *id;
            return self.found(id);
        }
        let bound = self.insert(socket, None)?;
        if let Some(listener) = self.listeners.get_mut(&bound.listener) {
            listener.givers.insert(giver);
        }
        Ok((bound, true))
    }

    /// A worker has ended. Yields the sockets that were given by it and by nobody else who lives: they go with it,
    /// as they would have if it had kept them.
    pub(crate) fn bereave(&mut self, giver: Id) -> Vec<(ListenerId, Listener)> {
        let orphaned = |listener: &mut Listener| listener.givers.remove(&giver) && listener.givers.is_empty();
        self.listeners.extract_if(.., |_, listener| orphaned(listener)).collect()
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
        for listener in std::mem::take(&mut self.listeners).into_values() {
            if let Some(file) = listener.file {
                file.remove();
            }
        }
    }

    fn insert(&mut self, socket: OwnedFd, file: Option<SocketFile>) -> io::Result<BoundTo> {
        let address = Address::of(&socket)?;
        let identity = socket::identity(&socket)?;
        self.last += 1;
        let id = ListenerId(self.last);
        self.listeners.insert(
            id,
            Listener { socket, address: address.clone(), identity, givers: BTreeSet::new(), file },
        );
        Ok(BoundTo { listener: id, address })
    }

    fn found(&self, id: ListenerId) -> io::Result<Found> {
        let listener = self.get(id).ok_or_else(|| io::Error::other("the listening socket was closed"))?;
        Ok((BoundTo { listener: id, address: listener.address.clone() }, false))
    }
}
