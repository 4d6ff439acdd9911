//! The listening sockets: bound for whoever asks first, shared by all, held until the cluster ends.

use std::collections::BTreeMap;
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
    /// Who gave it to us, by slot; empty for one that we bound, which stays.
    givers: BTreeMap<usize, Id>,
    file: Option<SocketFile>,
}

impl Listener {
    /// Whether somebody else may have it too: whoever handed it to a worker.
    pub(crate) fn is_shared(&self) -> bool {
        !self.givers.is_empty()
    }
}

/// Far more than anybody needs; a worker that binds for ever is to meet an end of it.
const MOST_BOUND: usize = 4096;

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
        if self.keys.len() >= MOST_BOUND {
            return Err(io::Error::other(format!(
                "a cluster may bind {MOST_BOUND} sockets, and this one has"
            )));
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
    pub(crate) fn adopt(&mut self, (slot, giver): (usize, Id), socket: OwnedFd) -> io::Result<Found> {
        socket::prepare_adopted(&socket)?;
        let identity = socket::identity(&socket)?;
        let known = self.listeners.iter_mut().find(|(_, listener)| listener.identity == identity);
        if let Some((id, listener)) = known {
            if !listener.givers.is_empty() {
                listener.givers.insert(slot, giver);
            }
            let id = *id;
            return self.found(id);
        }
        let bound = self.insert(socket, None)?;
        if let Some(listener) = self.listeners.get_mut(&bound.listener) {
            listener.givers.insert(slot, giver);
        }
        Ok((bound, true))
    }

    /// A worker is up. Yields the sockets that were given by its predecessor in the slot, and not by it nor by anybody
    /// else: nobody will serve them again.
    ///
    /// Not at the death already: a socket that was inherited is given again by the successor, and who waits for it is
    /// served then.
    pub(crate) fn succeeded(&mut self, slot: usize, successor: Id) -> Vec<(ListenerId, Listener)> {
        let left = |listener: &mut Listener| {
            listener.givers.get(&slot).is_some_and(|giver| *giver != successor)
                && listener.givers.remove(&slot).is_some()
                && listener.givers.is_empty()
        };
        self.listeners.extract_if(.., |_, listener| left(listener)).collect()
    }

    /// Closes one that can't be used.
    pub(crate) fn forget(&mut self, id: ListenerId) {
        self.keys.retain(|_, listener| *listener != id);
        if let Some(file) = self.listeners.remove(&id).and_then(|listener| listener.file) {
            file.remove();
        }
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
            Listener { socket, address: address.clone(), identity, givers: BTreeMap::new(), file },
        );
        Ok(BoundTo { listener: id, address })
    }

    fn found(&self, id: ListenerId) -> io::Result<Found> {
        let listener = self.get(id).ok_or_else(|| io::Error::other("the listening socket was closed"))?;
        Ok((BoundTo { listener: id, address: listener.address.clone() }, false))
    }
}
