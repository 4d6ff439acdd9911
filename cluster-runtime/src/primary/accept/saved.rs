//! Connections that wait for a worker, as one image of the primary leaves them for the next.

use serde::{Deserialize, Serialize};

use super::{Connection, Door};
use crate::ipc::bytes::Bytes;
use crate::ipc::message::Handoff;
use crate::sys::passed::{Claims, Fd};

/// All of them. Which listeners are accepted from is found anew.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SavedDoor {
    waiting: Vec<SavedConnection>,
    lost: usize,
}

#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
struct SavedConnection {
    socket: Fd,
    /// As it will be on the lane.
    handoff: Bytes,
}

impl Door {
    pub(crate) fn save(&self) -> SavedDoor {
        let waiting = self.waiting.values().flatten().map(|connection| {
            let handoff = Handoff { listener: connection.listener, peer: connection.peer };
            SavedConnection { socket: Fd::of(&connection.socket), handoff: Bytes(handoff.encode().to_vec()) }
        });
        SavedDoor { waiting: waiting.collect(), lost: self.lost }
    }
}

impl SavedDoor {
    pub(crate) fn fds(&self) -> impl Iterator<Item = &Fd> {
        self.waiting.iter().map(|connection| &connection.socket)
    }

    pub(crate) fn adopt(self, claims: &Claims) -> Door {
        let mut door = Door { lost: self.lost, ..Door::default() };
        for SavedConnection { socket, handoff } in self.waiting {
            let socket = socket.take(claims);
            match Handoff::decode(&handoff.0) {
                Some(Handoff { listener, peer }) => {
                    let waiting = door.waiting.entry(listener).or_default();
                    waiting.push_back(Connection { socket, listener, peer });
                }
                // Written by an image with another idea of it: nobody could serve it.
                None => door.lost += 1,
            }
        }
        door
    }
}
