//! The two directions of a channel, over a non-blocking stream socket that the caller owns.
//!
//! Sending never blocks: what the socket does not take waits here, up to a limit that the sender can see. The first frame
//! each way is the hello: it is put here, and looked at here.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

pub(crate) use super::codec::{Encoded, decode};
use super::frame::{self, Decoder, Frame, HEADER, Head, Kind, MAX_BODY};
use super::message::PROTOCOL;
use crate::error::SendError;
use crate::sys::scm;

pub(crate) mod saved;

/// How many bytes may wait for a slow reader before a user's message is refused.
pub(crate) const MAX_BACKLOG: usize = 2 * MAX_BODY;

/// Bytes after which a new segment is begun, and after which what waits is better written at once.
pub(crate) const SEGMENT: usize = 64 * 1024;

/// Descriptors that may wait for their frames, or to be written.
const MOST_FDS: usize = 64;

/// The same for messages of ours: as many as a worker may ask for in earnest, and no more if it does not read them.
const MOST_OWN_FDS: usize = 2048;

/// After a shortage of which no event tells the end, the next attempt.
pub(crate) const REST: Duration = Duration::from_millis(20);

/// Told, beside the version, to whoever speaks another.
pub(crate) const BUILD: &str = concat!("cluster ", env!("CARGO_PKG_VERSION"));

/// Where an answer goes: the bytes of it, or in words why there is none.
pub(crate) type Reply = Box<dyn FnOnce(Result<Encoded, String>) -> Result<(), SendError> + Send>;

/// What waits to be written.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// A descriptor rides on the first byte of its segment.
    segments: VecDeque<Segment>,
    waiting: usize,
    waiting_fds: usize,
    /// All bytes that were ever written.
    written: u64,
    /// The last write met a shortage of which no event tells the end.
    short: bool,
    /// Nobody reads any more.
    closed: bool,
}

#[derive(Debug)]
struct Segment {
    bytes: Vec<u8>,
    written: usize,
    fd: Option<OwnedFd>,
}

/// A message that was refused, and what was to go with it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: SendError,
    pub(crate) fd: Option<OwnedFd>,
}

impl Default for Outbox {
    fn default() -> Outbox {
        let segments = VecDeque::new();
        let mut outbox =
            Outbox { segments, waiting: 0, waiting_fds: 0, written: 0, short: false, closed: false };
        outbox.push(Head::of(Kind::Hello, PROTOCOL), BUILD.as_bytes(), None);
        outbox
    }
}

impl Outbox {
    /// Takes in what a user wants sent, or says why not; nothing of a refused message is sent.
    pub(crate) fn post(&mut self, head: Head, body: &[u8], fd: Option<OwnedFd>) -> Result<(), Refused> {
        let full = self.waiting > 0 && self.waiting + HEADER + body.len() > MAX_BACKLOG;
        self.post_within(full || (fd.is_some() && self.waiting_fds >= MOST_FDS), head, body, fd)
    }

    /// Takes in a message of ours. There are only ever a few of them, unless the other side asks and asks and does not
    /// read the answers.
    pub(crate) fn post_ours(&mut self, head: Head, body: &[u8], fd: Option<OwnedFd>) -> Result<(), Refused> {
        let full = self.waiting > 2 * MAX_BACKLOG || (fd.is_some() && self.waiting_fds >= MOST_OWN_FDS);
        self.post_within(full, head, body, fd)
    }

    fn post_within(
        &mut self,
        full: bool,
        head: Head,
        body: &[u8],
        fd: Option<OwnedFd>,
    ) -> Result<(), Refused> {
        match (self.closed, full) {
            (true, _) => Err(Refused { error: SendError::Closed, fd }),
            (_, true) => Err(Refused { error: SendError::Full, fd }),
            _ => {
                self.push(head, body, fd);
                Ok(())
            }
        }
    }

    fn push(&mut self, head: Head, body: &[u8], fd: Option<OwnedFd>) {
        let has_fd = fd.is_some();
        self.waiting_fds += usize::from(has_fd);
        // A segment is freed when it has been written to its end, so it must not be appended to for ever.
        let full = self.segments.back().is_none_or(|segment| segment.bytes.len() >= SEGMENT);
        if has_fd || full {
            self.segments.push_back(Segment { bytes: Vec::new(), written: 0, fd });
        }
        if let Some(segment) = self.segments.back_mut() {
            let before = segment.bytes.len();
            frame::encode(&mut segment.bytes, head, has_fd, body);
            self.waiting += segment.bytes.len() - before;
        }
    }

    /// Writes as much as the socket takes. An error means that nobody reads any more.
    pub(crate) fn flush(&mut self, socket: impl AsFd) -> io::Result<()> {
        self.short = false;
        while let Some(segment) = self.segments.front_mut() {
            let rest = &segment.bytes[segment.written..];
            match scm::send(&socket, rest, segment.fd.as_ref().map(AsFd::as_fd)) {
                Ok(sent) => {
                    self.waiting_fds -= usize::from(segment.fd.take().is_some());
                    segment.written += sent;
                    self.waiting -= sent;
                    self.written += sent as u64;
                    if segment.written == segment.bytes.len() {
                        self.segments.pop_front();
                    }
                }
                Err(error) if crowded(&error) => {
                    self.short = error.kind() != io::ErrorKind::WouldBlock;
                    return Ok(());
                }
                // Of this descriptor, and not of the socket: there are some that can't be sent, io_uring's for one. Its
                // message goes without it.
                Err(error) if segment.fd.is_some() && error.raw_os_error() == Some(libc::EINVAL) => {
                    crate::report::error(format_args!(
                        "a descriptor can't be sent, and its message goes without it: {error}"
                    ));
                    segment.fd = None;
                    self.waiting_fds -= 1;
                    frame::without_fd(&mut segment.bytes);
                }
                Err(error) => {
                    self.close();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Nobody reads any more: nothing is kept, and nothing taken in.
    pub(crate) fn close(&mut self) {
        self.segments.clear();
        (self.waiting, self.waiting_fds, self.closed) = (0, 0, true);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether bytes wait for the socket to become writable.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Whether what waits is to be tried again after a [`REST`], and not when the socket is writable: it is.
    pub(crate) fn is_short(&self) -> bool {
        self.short && self.is_waiting()
    }

    /// How many bytes wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many bytes were ever written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }
}

/// Not an end: the socket's buffer is full, or too many descriptors are on their way, or memory is short.
pub(crate) fn crowded(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || matches!(error.raw_os_error(), Some(libc::ETOOMANYREFS | libc::ENOBUFS | libc::ENOMEM))
}

/// What has been read and not yet been taken.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    decoder: Decoder,
    /// Nothing in place of one that the kernel could not give us.
    fds: VecDeque<Option<OwnedFd>>,
    /// The other side has said hello.
    greeted: bool,
}

/// One frame with the descriptor that came with it.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) fd: Option<OwnedFd>,
}

/// What a read met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Read {
    Some,
    /// Nothing for now.
    Empty,
    /// The other side is gone and everything it said has been read.
    End,
}

impl Intake {
    /// Reads once.
    pub(crate) fn read(&mut self, socket: impl AsFd) -> io::Result<Read> {
        let mut fds = Vec::new();
        let received = match scm::receive(socket, self.decoder.room(), &mut fds) {
            Ok(received) => received,
            // Short of memory, nothing was taken off the socket, which is readable still: it is tried again at the next look.
            Err(error) if crowded(&error) => return Ok(Read::Empty),
            // The other side died with bytes of ours unread: an end like any other.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Read::End),
            Err(error) => return Err(error),
        };
        self.fds.extend(fds.into_iter().map(Some));
        if self.fds.len() > MOST_FDS {
            self.fds.clear();
            return Err(broken("descriptors that belong to no frame"));
        }
        if received.lost_fds {
            crate::report::error(format_args!(
                "the kernel dropped a descriptor sent to this process: its limit of open files (RLIMIT_NOFILE) is \
                 reached; raise it"
            ));
            self.fds.push_back(None);
        }
        self.decoder.filled(received.bytes);
        Ok(if received.bytes == 0 { Read::End } else { Read::Some })
    }

    /// The next whole frame. An error is of the stream, which can't be read on.
    pub(crate) fn next(&mut self) -> io::Result<Option<Packet>> {
        loop {
            let Some(frame) = self.decoder.next().map_err(broken)? else { return Ok(None) };
            let Frame { head, has_fd, body } = frame;
            let fd = match has_fd {
                false => None,
                true => self.fds.pop_front().ok_or_else(|| broken("a frame without its descriptor"))?,
            };
            match (head.kind, self.greeted) {
                (Kind::Hello, false) => self.greet(head.number, &body)?,
                (Kind::Hello, true) => return Err(broken("a second hello")),
                (_, false) => return Err(broken("the first frame was no hello")),
                (_, true) => return Ok(Some(Packet { head, body, fd })),
            }
        }
    }

    fn greet(&mut self, protocol: u64, build: &[u8]) -> io::Result<()> {
        if protocol != PROTOCOL {
            let build = String::from_utf8_lossy(&build[..build.len().min(100)]);
            return Err(broken(format!(
                "the other side speaks version {protocol} of the cluster's protocol ({build:?}), and this process \
                 version {PROTOCOL} ({BUILD:?}): build both with the same version"
            )));
        }
        self.greeted = true;
        Ok(())
    }
}

fn broken(what: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;
