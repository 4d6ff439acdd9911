//! The lines, as one image of the primary leaves them for the next.

use std::io;

use serde::{Deserialize, Serialize};

use super::{LINES, Line};
use crate::ipc::channel::saved::{SavedIntake, SavedOutbox};
use crate::primary::slot::Id;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::passed::{Claims, Fd};

/// One of them.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SavedLine {
    worker: u64,
    socket: Fd,
    outbox: SavedOutbox,
    intake: SavedIntake,
    /// It has not ended.
    open: bool,
}

/// All of them.
pub(crate) fn save() -> Vec<SavedLine> {
    LINES.with_borrow(|lines| {
        let saved = lines.iter().map(|(id, line)| SavedLine {
            worker: id.0,
            socket: Fd::of(&line.socket),
            outbox: line.outbox.save(),
            intake: line.intake.save(),
            open: line.interest != Interest::Nothing,
        });
        saved.collect()
    })
}

impl SavedLine {
    pub(crate) fn fds(&self) -> impl Iterator<Item = &Fd> {
        std::iter::once(&self.socket).chain(self.outbox.fds()).chain(self.intake.fds())
    }
}

/// From now on they are this image's; they are listened to once they are [heard](hear_all).
pub(crate) fn adopt(lines: Vec<SavedLine>, claims: &Claims) {
    LINES.with_borrow_mut(|all| {
        for SavedLine { worker, socket, outbox, intake, open } in lines {
            let interest = if open { Interest::Read } else { Interest::Nothing };
            let (outbox, intake) = (outbox.adopt(claims), intake.adopt(claims));
            let line =
                Line { socket: socket.take(claims), outbox, intake, interest, held: true, wrote: false };
            all.insert(Id(worker), line);
        }
    });
}

/// Puts those that have not ended into the epoll set.
pub(crate) fn hear_all(epoll: &Epoll, name: impl Fn(Id) -> u64) -> io::Result<()> {
    LINES.with_borrow_mut(|lines| {
        let mut open = lines.iter_mut().filter(|(_, line)| line.interest != Interest::Nothing);
        open.try_for_each(|(id, line)| {
            super::stir(*id);
            line.held = false;
            epoll.add(&line.socket, name(*id), line.interest)
        })
    })
}
