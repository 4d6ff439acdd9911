//! The listening sockets, as one image of the primary leaves them for the next. None is closed and bound again: who waits in
//! their backlogs waits on, port 0 keeps its port, and a socket file stays where it is.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Holder, Listener, Listeners, Place};
use crate::event::Address;
use crate::ipc::message::{Key, ListenerId};
use crate::primary::slot::Id;
use crate::sys::passed::{Claims, Fd};
use crate::sys::socket::BACKLOG;
use crate::sys::socket_file::SocketFile;

/// All of them.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SavedListeners {
    listeners: Vec<SavedListener>,
    keys: Vec<(Key, ListenerId)>,
    last: u32,
}

#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
struct SavedListener {
    id: ListenerId,
    socket: Fd,
    address: Address,
    identity: u64,
    holders: Vec<SavedHolder>,
    shared: bool,
    fixed: bool,
    /// Where it is, and what keeps its inode.
    file: Option<(OsString, Fd)>,
    /// Where it is another than the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backlog: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    handed_out: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
}

#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
struct SavedHolder {
    worker: u64,
    slot: usize,
    times: u32,
    /// For so long yet.
    left: Option<Duration>,
}

impl Listeners {
    pub(crate) fn save(&self, now: Instant) -> SavedListeners {
        let holder = |(worker, holder): (&Id, &Holder)| SavedHolder {
            worker: worker.0,
            slot: holder.slot,
            times: holder.times,
            left: holder.until.map(|until| until.saturating_duration_since(now)),
        };
        let listeners = self.listeners.iter().map(|(id, listener)| SavedListener {
            id: *id,
            socket: Fd::of(&listener.socket),
            address: listener.address.clone(),
            identity: listener.identity,
            holders: listener.holders.iter().map(holder).collect(),
            shared: listener.shared,
            fixed: listener.fixed,
            file: listener.file.as_ref().map(|file| (file.path().into(), Fd::of(file.pinned()))),
            backlog: Some(listener.backlog).filter(|backlog| *backlog != BACKLOG),
            handed_out: listener.handed_out,
            place: listener.place,
        });
        let keys = self.keys.iter().map(|(key, id)| (key.clone(), *id));
        SavedListeners { listeners: listeners.collect(), keys: keys.collect(), last: self.last }
    }
}

impl SavedListeners {
    pub(crate) fn fds(&self) -> impl Iterator<Item = &Fd> {
        let sockets = self.listeners.iter().map(|listener| &listener.socket);
        sockets.chain(self.listeners.iter().filter_map(|listener| Some(&listener.file.as_ref()?.1)))
    }

    pub(crate) fn adopt(self, claims: &Claims, now: Instant) -> Listeners {
        let holder = |SavedHolder { worker, slot, times, left }| {
            (Id(worker), Holder { slot, times, until: left.map(|left| now + left) })
        };
        let listeners = self.listeners.into_iter().map(|saved| {
            let SavedListener { id, socket, address, identity, holders, shared, fixed, file, .. } = saved;
            let (backlog, handed_out, place) =
                (saved.backlog.unwrap_or(BACKLOG), saved.handed_out, saved.place);
            let file = file.map(|(path, pinned)| SocketFile::adopt(path.into(), pinned.take(claims)));
            let (socket, holders) = (socket.take(claims), holders.into_iter().map(holder).collect());
            let listener = Listener {
                socket,
                address,
                identity,
                holders,
                shared,
                fixed,
                file,
                backlog,
                handed_out,
                place,
            };
            (id, listener)
        });
        let listeners: BTreeMap<_, _> = listeners.collect();
        // The first look tells when the next is due.
        let (stirred, look_at) = (true, None);
        Listeners { listeners, keys: self.keys.into_iter().collect(), last: self.last, stirred, look_at }
    }
}
