//! Listening sockets of which workers accept by themselves: the one that all of them have, or one for each slot.
//!
//! The primary has all of them too, and closes none before the listener: whoever waits in one whose worker is dead, stalled,
//! full or gone for good is accepted by the primary, and handed to another.

use std::io;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use super::{Listener, Listeners, MOST_BOUND};
use crate::event::Address;
use crate::ipc::message::ListenerId;
use crate::sys::socket;

/// Whose it is, of the sockets that one listener has.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Place {
    pub(super) of: ListenerId,
    pub(super) slot: usize,
}

impl Listener {
    /// The listener that connections of this socket belong to.
    pub(crate) fn serves(&self, id: ListenerId) -> ListenerId {
        self.place.map_or(id, |place| place.of)
    }

    /// The slot that it is of, if it is of one alone.
    pub(crate) fn slot(&self) -> Option<usize> {
        self.place.map(|place| place.slot)
    }

    /// Whether it is one more of a listener that has another.
    pub(crate) fn is_beside(&self, id: ListenerId) -> bool {
        self.serves(id) != id
    }

    /// Its workers have it too: no call may wait, whatever they have made of its flags. Nor may one of whoever gets it now: tokio
    /// panics over a socket that blocks, and then what one worker has done would let no other come up.
    pub(super) fn hand_out(&mut self) -> io::Result<OwnedFd> {
        socket::keep_from_waiting(&self.socket)?;
        let socket = self.socket.try_clone()?;
        self.handed_out = true;
        Ok(socket)
    }
}

impl Listeners {
    /// The socket of a listener that workers in this slot accept from by themselves, by its number, and whether it is new: then
    /// clients come to it from now on, whether a worker can be given it or not. `split`: each slot is to have its own, where there
    /// can be several. Once that is so of a listener, it stays so.
    pub(crate) fn of_slot(
        &mut self,
        id: ListenerId,
        slot: usize,
        split: bool,
    ) -> io::Result<(ListenerId, bool)> {
        let place = Place { of: id, slot };
        if let Some((known, _)) = self.listeners.iter().find(|(_, listener)| listener.place == Some(place)) {
            return Ok((*known, false));
        }
        let full = self.listeners.len() >= 2 * MOST_BOUND;
        let Some(first) = self.listeners.get_mut(&id) else { return Ok((id, false)) };
        let Address::Tcp(address) = first.address else { return Ok((id, false)) };
        // What was given to us is not ours to share with whoever may bind beside it.
        if first.shared || !(split || first.place.is_some()) {
            return Ok((id, false));
        }
        if first.place.is_none() {
            // It was bound alone, that an address in use is an error as ever; others may be beside it from now on.
            socket::allow_beside(&first.socket)?;
            first.place = Some(place);
            return Ok((id, false));
        }
        if full {
            return Err(io::Error::other(format!(
                "a cluster may have {} sockets, and this one has",
                2 * MOST_BOUND
            )));
        }
        let socket = socket::listen_beside(&first.socket, address, first.backlog)?;
        let backlog = first.backlog;
        let beside = self.insert(socket, None, false)?.listener;
        if let Some(listener) = self.listeners.get_mut(&beside) {
            (listener.place, listener.backlog) = (Some(place), backlog);
        }
        Ok((beside, true))
    }

    /// A copy of it for a worker.
    pub(crate) fn hand_out(&mut self, id: ListenerId) -> io::Result<OwnedFd> {
        let closed = || io::Error::other("the listening socket was closed");
        self.listeners.get_mut(&id).ok_or_else(closed)?.hand_out()
    }

    /// Those that belong to no listener any more.
    pub(super) fn left_over(&mut self) -> Vec<(ListenerId, Listener)> {
        let first: Vec<_> = self.listeners.keys().copied().collect();
        let over = |id: &ListenerId, listener: &mut Listener| {
            listener.is_beside(*id) && first.binary_search(&listener.serves(*id)).is_err()
        };
        self.listeners.extract_if(.., over).collect()
    }
}
