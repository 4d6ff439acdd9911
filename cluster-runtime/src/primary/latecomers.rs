//! Newborns that come too late: their nursery is gone, and another was asked for them since. Nobody but they themselves can tell
//! that they are there, and whoever is not reaped stays a zombie: so their word is waited for a while yet.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::nursery::{Answer, LARGEST};
use super::slot::Id;
use crate::ipc::channel::decode;
use crate::sys::pidfd::Child;
use crate::sys::scm;

/// Between two looks.
const APART: Duration = Duration::from_secs(1);

/// Those of one nursery.
#[derive(Debug)]
pub(super) struct Latecomers {
    socket: OwnedFd,
    /// Of whose birth the nursery has told: these are watched already.
    known: BTreeSet<Id>,
    pub(super) look_at: Instant,
    /// Whoever has the socket for longer is none.
    until: Instant,
}

impl Latecomers {
    pub(super) fn new(socket: OwnedFd, known: BTreeSet<Id>, within: Duration, now: Instant) -> Latecomers {
        Latecomers { socket, known, look_at: now + APART, until: now + within }
    }

    /// Ends and reaps those that have come. Whether others may.
    pub(super) fn end(&mut self, now: Instant) -> bool {
        if self.look_at > now {
            return true;
        }
        self.look_at = now + APART;
        let mut bytes = [0; LARGEST];
        while let Ok(received) = scm::receive(&self.socket, &mut bytes, &mut Vec::new()) {
            if received.bytes == 0 {
                return false;
            }
            if let Ok(Answer::Born { id, pid }) = decode(&bytes[..received.bytes])
                && !self.known.contains(&Id(id))
            {
                Child::end(pid);
            }
        }
        now < self.until
    }
}
