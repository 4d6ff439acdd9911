//! The primary's ends of the channels: one line to each worker.
//!
//! Kept apart from the loop, by thread, because user code sends from within callbacks while the loop waits for
//! them to return; a refusal is told to the caller at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use serde::Serialize;

use super::slot::Id;
use crate::error::SendError;
use crate::ipc::channel::{Encoded, Intake, Outbox, Packet, Read};
use crate::ipc::message::ToWorker;
use crate::sys::epoll::{Epoll, Interest};

thread_local! {
    static LINES: RefCell<BTreeMap<Id, Line>> = const { RefCell::new(BTreeMap::new()) };
}

#[derive(Debug)]
struct Line {
    socket: OwnedFd,
    outbox: Outbox,
    intake: Intake,
    interest: Interest,
}

/// Opens the line to a worker that is being born.
pub(crate) fn open(id: Id, socket: OwnedFd) {
    let line =
        Line { socket, outbox: Outbox::default(), intake: Intake::default(), interest: Interest::Nothing };
    LINES.with_borrow_mut(|lines| lines.insert(id, line));
}

/// Starts to listen to it. `name` is what the epoll set calls it.
pub(crate) fn attend(id: Id, epoll: &Epoll, name: u64) -> io::Result<()> {
    with(id, |line| {
        line.interest = Interest::Read;
        epoll.add(&line.socket, name, Interest::Read)
    })
    .unwrap_or(Ok(()))
}

/// Hangs up.
pub(crate) fn close(id: Id) {
    LINES.with_borrow_mut(|lines| lines.remove(&id));
}

/// Hangs up on everybody.
pub(crate) fn close_all() {
    LINES.with_borrow_mut(BTreeMap::clear);
}

/// Sends a user's message.
pub(crate) fn send(id: Id, message: &impl Serialize) -> Result<(), SendError> {
    let message = Encoded::new(message)?;
    with(id, |line| line.outbox.send_user(&line.socket, &message)).unwrap_or(Err(SendError::Closed))
}

/// Sends a message of ours. A worker that is gone is no error: its end is learnt in another way.
pub(crate) fn tell(id: Id, message: &ToWorker, fd: Option<OwnedFd>) {
    let told = Encoded::new(message).and_then(|message| {
        with(id, |line| line.outbox.send_control(&line.socket, &message, fd)).unwrap_or(Ok(()))
    });
    match told {
        Ok(()) | Err(SendError::Closed) => {}
        Err(error) => {
            // It asks without reading what it is answered. At the end of its channel, it goes.
            crate::report::error(format_args!("answering worker {}: {error}; its channel is closed", id.0));
            close(id);
            super::desk::order(super::step::Input::Closed { id });
        }
    }
}

/// What one look at a line found.
#[derive(Debug)]
pub(crate) enum Heard {
    Packets(Vec<Packet>),
    /// Nothing more will come: it hung up, or it does not speak our protocol.
    End(Vec<Packet>, Option<io::Error>),
}

/// Reads once, so that a worker that floods its line keeps nobody else waiting; also writes what waited.
pub(crate) fn serve(id: Id) -> Heard {
    let heard = with(id, |line| {
        // An error means that nobody reads: the read below meets the end.
        let _ = line.outbox.flush(&line.socket);
        let read = line.intake.read(&line.socket);
        line.collect(read)
    });
    heard.unwrap_or(Heard::End(Vec::new(), None))
}

/// Reads everything that was said before a death.
pub(crate) fn last_words(id: Id) -> Vec<Packet> {
    let mut words = Vec::new();
    loop {
        match with(id, |line| {
            let read = line.intake.read(&line.socket);
            let empty = matches!(read, Ok(Read::Empty));
            (line.collect(read), empty)
        }) {
            Some((Heard::Packets(packets), false)) => words.extend(packets),
            // Empty, and not at its end: a grandchild holds the other side. The worker itself says no more.
            Some((Heard::Packets(packets) | Heard::End(packets, _), _)) => {
                words.extend(packets);
                return words;
            }
            None => return words,
        }
    }
}

/// Waits for room on the lines where something waits, and no longer on the others.
pub(crate) fn arm(epoll: &Epoll, name: impl Fn(Id) -> u64) -> io::Result<()> {
    LINES.with_borrow_mut(|lines| {
        for (id, line) in lines.iter_mut().filter(|(_, line)| line.interest != Interest::Nothing) {
            let interest = if line.outbox.is_waiting() { Interest::ReadWrite } else { Interest::Read };
            if interest != line.interest {
                epoll.change(&line.socket, name(*id), interest)?;
                line.interest = interest;
            }
        }
        Ok(())
    })
}

/// Stops listening to a line that has ended, which would be reported for ever.
pub(crate) fn ignore(id: Id, epoll: &Epoll) {
    with(id, |line| {
        if std::mem::replace(&mut line.interest, Interest::Nothing) != Interest::Nothing
            && let Err(error) = epoll.remove(line.socket.as_fd())
        {
            crate::report::error(format_args!("taking a channel out of the epoll set: {error}"));
        }
    });
}

impl Line {
    fn collect(&mut self, read: io::Result<Read>) -> Heard {
        let mut packets = Vec::new();
        let broken = loop {
            match self.intake.next() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        match (read, broken) {
            (Ok(Read::Some | Read::Empty), None) => Heard::Packets(packets),
            (Ok(_), error) => Heard::End(packets, error),
            (Err(error), _) => Heard::End(packets, Some(error)),
        }
    }
}

fn with<T>(id: Id, f: impl FnOnce(&mut Line) -> T) -> Option<T> {
    LINES.with_borrow_mut(|lines| lines.get_mut(&id).map(f))
}
