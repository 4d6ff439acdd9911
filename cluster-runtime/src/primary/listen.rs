//! The listening sockets: bound for whoever asks first, shared by all, held until the cluster ends.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

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
    pub(crate) fn adopt(&mut self, socket: OwnedFd) -> io::Result<Found> {
        socket::prepare_adopted(&socket)?;
        let identity = socket::identity(&socket)?;
        if let Some((id, _)) = self.listeners.iter().find(|(_, listener)| listener.identity == identity) {
            return self.found(*id);
        }
        Ok((self.insert(socket, None)?, true))
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
        self.listeners.insert(id, Listener { socket, address: address.clone(), identity, file });
        Ok(BoundTo { listener: id, address })
    }

    fn found(&self, id: ListenerId) -> io::Result<Found> {
        let listener = self.get(id).ok_or_else(|| io::Error::other("the listening socket was closed"))?;
        Ok((BoundTo { listener: id, address: listener.address.clone() }, false))
    }
}
