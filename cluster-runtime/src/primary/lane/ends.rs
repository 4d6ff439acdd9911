//! One lane: its two ends, and what its reader says of it.

use std::io;

use super::{Connection, Lane, Left};
use crate::board::{Seen, View};
use crate::ipc::message::Handoff;
use crate::sys::scm;

impl Lane {
    /// What its reader says that it has received, has open and has served: a claim, of any value. Nothing where it has no
    /// line on the board.
    pub(super) fn seen(&self) -> Option<Seen> {
        #[cfg(test)]
        if self.pretended.is_some() {
            return self.pretended;
        }
        self.view.as_ref().and_then(View::seen)
    }

    /// Whether what is on it may be for others, and there may be something. One that is gone is to be forgotten, empty or not.
    pub(super) fn gives(&self) -> bool {
        let late = self.pace.is_late() && !self.returned;
        let for_others = self.full || self.silent || self.left != Left::No || late;
        self.left == Left::Gone || for_others && !self.empty
    }

    /// Yields false if it had ended before.
    pub(super) fn end(&mut self) -> bool {
        if std::mem::replace(&mut self.ended, true) {
            return false;
        }
        if let Err(error) = rustix::net::shutdown(&self.tx, rustix::net::Shutdown::Write) {
            crate::report::error(format_args!("ending a lane of worker {}: {error}", self.worker.0));
        }
        true
    }

    /// Reads one connection that the worker has not.
    pub(super) fn read_back(&self) -> io::Result<Option<Connection>> {
        let (mut packet, mut fds) = ([0; Handoff::SIZE], Vec::new());
        // Tried first: received without a descriptor to spare, it would be lost.
        drop(self.rx.try_clone()?);
        match scm::receive(&self.rx, &mut packet, &mut fds) {
            Ok(received) => {
                Ok(Handoff::decode(&packet[..received.bytes]).zip(fds.pop()).map(|(handoff, socket)| {
                    Connection { socket, listener: handoff.listener, peer: handoff.peer }
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}
