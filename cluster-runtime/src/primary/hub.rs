//! The primary's ends of the channels: one line to each worker.
//!
//! Kept apart from the loop, by thread, because user code sends from within callbacks while the loop waits for
//! them to return; a refusal is told to the caller at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use super::slot::Id;
use crate::error::SendError;
pub(crate) use crate::ipc::channel::Refused;
use crate::ipc::channel::{Encoded, Intake, Outbox, Packet, REST, Read, SEGMENT};
use crate::ipc::frame::Head;
use crate::ipc::message::ToWorker;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::socket;

pub(crate) mod saved;

thread_local! {
    /// Not closed by exit(3), which ends what is a thread's before all else: the way back out of it needs them.
    static LINES: RefCell<ManuallyDrop<BTreeMap<Id, Line>>> =
        const { RefCell::new(ManuallyDrop::new(BTreeMap::new())) };
    /// Whose line may have something to be written that was not, as of the last turn's end.
    static STIRRED: RefCell<BTreeSet<Id>> = const { RefCell::new(BTreeSet::new()) };
}

#[derive(Debug)]
struct Line {
    socket: OwnedFd,
    outbox: Outbox,
    intake: Intake,
    interest: Interest,
    /// Of the image before, and not [heard](saved::hear_all) yet: the state from which that one would go on is written, and nothing
    /// of it may change before this one does.
    held: bool,
    /// Something was written in this turn of the loop: what comes after it waits for the turn's end, and goes with it.
    wrote: bool,
}

/// How often a dead worker's channel is read at most. What it can have left there is in the socket's buffer; more is of
/// some child of its own, which holds the other end and may write for ever.
const LAST_READS: usize = 4096;

/// Opens the line to a worker that is being born.
pub(crate) fn open(id: Id, socket: OwnedFd) {
    let line = Line {
        socket,
        outbox: Outbox::default(),
        intake: Intake::default(),
        interest: Interest::Nothing,
        held: false,
        wrote: false,
    };
    LINES.with_borrow_mut(|lines| match lines.get_mut(&id) {
        // To be born again: nothing was written yet, and what was said to it is kept.
        Some(known) if known.interest == Interest::Nothing => {
            (known.socket, known.held) = (line.socket, false);
        }
        _ => drop(lines.insert(id, line)),
    });
}

/// Starts to listen to it. `name` is what the epoll set calls it.
pub(crate) fn attend(id: Id, epoll: &Epoll, name: u64) -> io::Result<()> {
    with(id, |line| {
        line.interest = Interest::Read;
        // It may have been told something before it was born.
        stir(id);
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
    LINES.with_borrow_mut(|lines| lines.clear());
    STIRRED.with_borrow_mut(BTreeSet::clear);
}

/// Sends what a user says.
pub(crate) fn post(id: Id, head: Head, body: &[u8], fd: Option<OwnedFd>) -> Result<(), Refused> {
    let mut fd = Some(fd);
    let posted = with(id, |line| {
        line.outbox.post(head, body, fd.take().flatten())?;
        line.write_soon(id);
        Ok(())
    });
    posted.unwrap_or_else(|| Err(Refused { error: SendError::Closed, fd: fd.flatten() }))
}

/// How many bytes wait to be written to it.
pub(crate) fn backlog(id: Id) -> usize {
    with(id, |line| line.outbox.waiting()).unwrap_or(0)
}

/// Sends a message of ours.
pub(crate) fn tell(id: Id, message: &ToWorker, fd: Option<OwnedFd>) {
    match Encoded::new(message) {
        Ok(message) => reply(id, Head::CONTROL, message.as_bytes(), fd),
        Err(error) => crate::report::error(format_args!("telling worker {} {message:?}: {error}", id.0)),
    }
}

/// Sends what a worker waits for. One that is gone is no error: its end is learnt in another way.
pub(crate) fn reply(id: Id, head: Head, body: &[u8], fd: Option<OwnedFd>) {
    let told = with(id, |line| {
        line.outbox.post_ours(head, body, fd)?;
        line.write_soon(id);
        Ok(())
    });
    match told {
        None | Some(Ok(()) | Err(Refused { error: SendError::Closed, .. })) => {}
        Some(Err(Refused { error, .. })) => {
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
        if line.outbox.is_waiting() {
            // An error means that nobody reads: the read below meets the end.
            let _ = line.outbox.flush(&line.socket);
            stir(id);
        }
        let read = line.intake.read(&line.socket);
        line.collect(read)
    });
    heard.unwrap_or(Heard::End(Vec::new(), None))
}

/// Whether something it has said is still in the kernel.
pub(crate) fn has_unread(id: Id) -> bool {
    with(id, |line| rustix::io::ioctl_fionread(&line.socket).is_ok_and(|bytes| bytes > 0)).unwrap_or(false)
}

/// Reads everything that was said before a death.
pub(crate) fn last_words(id: Id) -> Vec<Packet> {
    let mut words = Vec::new();
    for _ in 0..LAST_READS {
        let heard = with(id, |line| {
            let read = line.intake.read(&line.socket);
            let empty = matches!(read, Ok(Read::Empty));
            (line.collect(read), empty)
        });
        match heard {
            Some((Heard::Packets(packets), false)) => words.extend(packets),
            // Empty, and not at its end: a grandchild holds the other side. The worker itself says no more.
            Some((Heard::Packets(packets), true)) => {
                words.extend(packets);
                break;
            }
            Some((Heard::End(packets, error), _)) => {
                words.extend(packets);
                if let Some(error) = error {
                    crate::report::error(format_args!("the channel of worker {}: {error}", id.0));
                }
                break;
            }
            None => break,
        }
    }
    words
}

/// The end of a turn: writes what was said in it, waits for room on the lines where something is left, and no longer on
/// the others. Looks at nobody to whom nothing was said.
pub(crate) fn arm(epoll: &Epoll, name: impl Fn(Id) -> u64) -> io::Result<()> {
    let stirred = STIRRED.take();
    LINES.with_borrow_mut(|lines| {
        for id in stirred {
            let Some(line) = lines.get_mut(&id).filter(|line| line.interest != Interest::Nothing) else {
                continue;
            };
            line.wrote = false;
            if line.interest == Interest::Read && line.outbox.is_waiting() {
                // An error means that nobody reads: its end is read soon.
                let _ = line.outbox.flush(&line.socket);
            }
            // Where memory or descriptors are short it is writable all the time: then it is tried again after a rest.
            let short = line.outbox.is_short();
            if short {
                stir(id);
            }
            let waits = line.outbox.is_waiting() && !short;
            let interest = if waits { Interest::ReadWrite } else { Interest::Read };
            if interest != line.interest {
                epoll.change(&line.socket, name(id), interest)?;
                line.interest = interest;
            }
        }
        Ok(())
    })
}

/// When a shortage may be over: what is left over by a turn's end is there for nothing else.
pub(crate) fn deadline(now: Instant) -> Option<Instant> {
    is_stirred().then(|| now + REST)
}

/// Whether something was said since the last turn's end.
pub(crate) fn is_stirred() -> bool {
    STIRRED.with_borrow(|stirred| !stirred.is_empty())
}

fn stir(id: Id) {
    STIRRED.with_borrow_mut(|stirred| stirred.insert(id));
}

/// Stops listening to a line that has ended, which would be reported for ever.
pub(crate) fn ignore(id: Id, epoll: &Epoll) {
    with(id, |line| {
        // Whoever sends to it from now on is told that it is closed.
        line.outbox.close();
        if std::mem::replace(&mut line.interest, Interest::Nothing) != Interest::Nothing
            && let Err(error) = epoll.remove(line.socket.as_fd())
        {
            crate::report::error(format_args!("taking a channel out of the epoll set: {error}"));
        }
    });
}

impl Line {
    /// Writes at once what comes alone, so that an answer loses no time; the rest of a burst when there is a lot of it,
    /// or at the turn's end: one system call for many.
    fn write_soon(&mut self, id: Id) {
        let alone = !std::mem::replace(&mut self.wrote, true);
        if alone {
            stir(id);
        }
        if self.interest == Interest::Read && !self.held && (alone || self.outbox.waiting() >= SEGMENT) {
            // An error means that nobody reads: its end is read soon, and until then it is told that it is closed.
            let _ = self.outbox.flush(&self.socket);
        }
    }

    fn collect(&mut self, read: io::Result<Read>) -> Heard {
        let mut packets = Vec::new();
        let broken = loop {
            match self.intake.next() {
                Ok(Some(packet)) => {
                    // Whoever closes the last descriptor of a socket that lingers would wait for its client.
                    packet.fd.as_ref().inspect(|fd| socket::never_linger(fd));
                    packets.push(packet);
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::scm;

    /// Mutation: forget who was told something alone; what is said after it has nobody to write it.
    #[test]
    fn what_is_said_after_another_word_goes_at_the_turns_end_and_that_is_known() {
        let (id, epoll, (ours, theirs)) = (Id(1), Epoll::new().unwrap(), scm::stream_pair().unwrap());
        open(id, ours);
        attend(id, &epoll, 1).unwrap();
        arm(&epoll, |_| 1).unwrap();
        assert!(!is_stirred() && deadline(Instant::now()).is_none());
        let mut intake = Intake::default();
        let mut heard = || {
            let _ = intake.read(&theirs);
            std::iter::from_fn(|| intake.next().unwrap())
                .filter(|packet| packet.head == Head::CONTROL)
                .count()
        };
        for _ in 0..2 {
            tell(id, &ToWorker::Stopping, None);
        }
        assert_eq!((heard(), is_stirred()), (1, true), "it waits for the turn's end");
        arm(&epoll, |_| 1).unwrap();
        assert_eq!((heard(), is_stirred()), (1, false));
        close_all();
    }
}
