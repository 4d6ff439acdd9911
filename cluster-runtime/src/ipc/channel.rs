//! The two directions of a channel, over a non-blocking stream socket that the caller owns.
//!
//! Sending never blocks: what the socket does not take waits here, up to a limit that the sender can see.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{self, Decoder, Frame, Kind, MAX_BODY};
use crate::error::SendError;
use crate::sys::scm;

/// How many bytes may wait for a slow reader before a user's message is refused.
pub(crate) const MAX_BACKLOG: usize = 2 * MAX_BODY;

/// Bytes after which a new segment is begun.
const SEGMENT: usize = 64 * 1024;

/// Descriptors that may wait for their frames. Each frame has one at most, and frames are taken at once.
const MOST_FDS: usize = 64;

/// Bytes asked of the kernel at a time.
const READ: usize = 64 * 1024;

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// A descriptor rides on the first byte of its segment.
    segments: VecDeque<Segment>,
    waiting: usize,
}

#[derive(Debug)]
struct Segment {
    bytes: Vec<u8>,
    written: usize,
    fd: Option<OwnedFd>,
}

impl Outbox {
    /// Sends a user's message, or says why not; a refused one has not been sent in part.
    pub(crate) fn send_user(&mut self, socket: impl AsFd, Encoded(body): &Encoded) -> Result<(), SendError> {
        if self.waiting > 0 && self.waiting + body.len() > MAX_BACKLOG {
            return Err(SendError::Full);
        }
        self.push(Kind::User, body, None);
        self.flush(socket).map_err(|_| SendError::Closed)
    }

    /// Sends a message of ours. There are only ever a few of them, unless the other side asks and asks and does not
    /// read the answers.
    pub(crate) fn send_control(
        &mut self,
        socket: impl AsFd,
        Encoded(body): &Encoded,
        fd: Option<OwnedFd>,
    ) -> Result<(), SendError> {
        if self.waiting > 2 * MAX_BACKLOG {
            return Err(SendError::Full);
        }
        self.push(Kind::Control, body, fd);
        self.flush(socket).map_err(|_| SendError::Closed)
    }

    fn push(&mut self, kind: Kind, body: &[u8], fd: Option<OwnedFd>) {
        let fds = u8::from(fd.is_some());
        // A segment is freed when it has been written to its end, so it must not be appended to for ever.
        let full = self.segments.back().is_none_or(|segment| segment.bytes.len() >= SEGMENT);
        if fd.is_some() || full {
            self.segments.push_back(Segment { bytes: Vec::new(), written: 0, fd });
        }
        if let Some(segment) = self.segments.back_mut() {
            let before = segment.bytes.len();
            frame::encode(&mut segment.bytes, kind, fds, body);
            self.waiting += segment.bytes.len() - before;
        }
    }

    /// Writes as much as the socket takes. An error means that nobody reads any more.
    pub(crate) fn flush(&mut self, socket: impl AsFd) -> io::Result<()> {
        while let Some(segment) = self.segments.front_mut() {
            let rest = &segment.bytes[segment.written..];
            match scm::send(&socket, rest, segment.fd.as_ref().map(AsFd::as_fd)) {
                Ok(sent) => {
                    segment.fd = None;
                    segment.written += sent;
                    self.waiting -= sent;
                    if segment.written == segment.bytes.len() {
                        self.segments.pop_front();
                    }
                }
                Err(error) if crowded(&error) => return Ok(()),
                Err(error) => {
                    self.segments.clear();
                    self.waiting = 0;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Whether bytes wait for the socket to become writable.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }
}

/// Not an end: the socket's buffer is full, or too many descriptors are on their way, or memory is short.
pub(crate) fn crowded(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || matches!(error.raw_os_error(), Some(libc::ETOOMANYREFS | libc::ENOBUFS | libc::ENOMEM))
}

/// A message as it travels.
///
/// Made before any lock is taken or anything is borrowed: it runs the user's `Serialize`, which may do anything,
/// even send.
#[derive(Debug)]
pub(crate) struct Encoded(Vec<u8>);

impl Encoded {
    pub(crate) fn new(message: &impl Serialize) -> Result<Encoded, SendError> {
        let body = rmp_serde::to_vec_named(message).map_err(|error| SendError::Encode(error.to_string()))?;
        match body.len() {
            0..=MAX_BODY => Ok(Encoded(body)),
            size => Err(SendError::TooLarge { size, limit: MAX_BODY }),
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a body as `M`.
pub(crate) fn decode<M: DeserializeOwned>(body: &[u8]) -> Result<M, rmp_serde::decode::Error> {
    rmp_serde::from_slice(body)
}

/// What has been read and not yet been taken.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    decoder: Decoder,
    fds: VecDeque<OwnedFd>,
}

/// One frame with the descriptor that came with it.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) frame: Frame,
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
        let mut buffer = [0; READ];
        let mut fds = Vec::new();
        let received = match scm::receive(socket, &mut buffer, &mut fds) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Empty),
            // The other side died with bytes of ours unread: an end like any other.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Read::End),
            Err(error) => return Err(error),
        };
        self.fds.extend(fds);
        if self.fds.len() > MOST_FDS {
            self.fds.clear();
            return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors that belong to no frame"));
        }
        if received.lost_fds {
            return Err(io::Error::other(
                "the kernel dropped a descriptor sent to this process: its limit of open files (RLIMIT_NOFILE) is \
                 reached; raise it",
            ));
        }
        self.decoder.push(&buffer[..received.bytes]);
        Ok(if received.bytes == 0 { Read::End } else { Read::Some })
    }

    /// The next whole frame.
    pub(crate) fn next(&mut self) -> io::Result<Option<Packet>> {
        let broken = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let Some(frame) = self.decoder.next().map_err(|error| broken(error.to_string()))? else {
            return Ok(None);
        };
        let fd = match frame.fds {
            0 => None,
            1 => Some(self.fds.pop_front().ok_or_else(|| broken("a frame without its descriptor".into()))?),
            more => return Err(broken(format!("a frame with {more} descriptors"))),
        };
        Ok(Some(Packet { frame, fd }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(message: &impl Serialize) -> Encoded {
        Encoded::new(message).unwrap()
    }

    #[test]
    fn both_ways_full_nobody_blocks_and_everything_arrives_in_order() {
        let (a, b) = scm::stream_pair().unwrap();
        let (mut to_b, mut to_a) = (Outbox::default(), Outbox::default());
        let big = "x".repeat(300_000);
        for n in 0..20u32 {
            to_b.send_user(&a, &encoded(&(n, &big))).unwrap();
            to_a.send_user(&b, &encoded(&(n, &big))).unwrap();
        }
        assert!(to_b.is_waiting() && to_a.is_waiting());
        for (outbox, from, to) in [(&mut to_b, &a, &b), (&mut to_a, &b, &a)] {
            let (mut intake, mut expected) = (Intake::default(), 0);
            while expected < 20 {
                outbox.flush(from).unwrap();
                while intake.read(to).unwrap() == Read::Some {}
                while let Some(packet) = intake.next().unwrap() {
                    let (n, body): (u32, String) = decode(&packet.frame.body).unwrap();
                    assert_eq!((n, body.len()), (expected, big.len()));
                    expected += 1;
                }
            }
        }
    }

    #[test]
    fn a_backlog_has_a_limit_and_a_message_has_one() {
        let (a, _b) = scm::stream_pair().unwrap();
        let mut outbox = Outbox::default();
        let large = vec![1u64; MAX_BODY];
        assert!(matches!(Encoded::new(&large), Err(SendError::TooLarge { .. })));
        let half = "x".repeat(MAX_BODY / 2);
        let sent = (0..100).take_while(|_| outbox.send_user(&a, &encoded(&half)).is_ok()).count();
        assert!((4..8).contains(&sent), "{sent} half-limit messages were taken");
        assert!(matches!(outbox.send_user(&a, &encoded(&half)), Err(SendError::Full)));
    }

    #[test]
    fn what_was_written_is_freed_though_something_always_waits() {
        let (a, b) = scm::stream_pair().unwrap();
        let (mut outbox, mut intake) = (Outbox::default(), Intake::default());
        let message = encoded(&"x".repeat(100_000));
        for _ in 0..500 {
            outbox.send_user(&a, &message).unwrap();
            while outbox.waiting > 3_000_000 {
                intake.read(&b).unwrap();
                while intake.next().unwrap().is_some() {}
                outbox.flush(&a).unwrap();
            }
        }
        let held: usize = outbox.segments.iter().map(|segment| segment.bytes.capacity()).sum();
        assert!(held < 8_000_000, "{held} bytes are held for {} that wait", outbox.waiting);
    }

    #[test]
    fn a_descriptor_stays_with_its_frame_between_others() {
        let (a, b) = scm::stream_pair().unwrap();
        let (lane, other) = scm::packet_pair().unwrap();
        let mut outbox = Outbox::default();
        outbox.send_control(&a, &encoded(&1u8), None).unwrap();
        outbox.send_control(&a, &encoded(&2u8), Some(lane)).unwrap();
        outbox.send_control(&a, &encoded(&3u8), None).unwrap();
        let mut intake = Intake::default();
        while intake.read(&b).unwrap() == Read::Some {}
        let mut with_fd = Vec::new();
        while let Some(packet) = intake.next().unwrap() {
            if let Some(fd) = packet.fd {
                scm::send(&fd, b"!", None).unwrap();
                with_fd.push(decode::<u8>(&packet.frame.body).unwrap());
            }
        }
        assert_eq!(with_fd, [2]);
        assert_eq!(scm::receive(&other, &mut [0; 4], &mut Vec::new()).unwrap().bytes, 1);
    }

    #[test]
    fn the_end_is_told_after_the_last_words() {
        let (a, b) = scm::stream_pair().unwrap();
        Outbox::default().send_user(&a, &encoded(&"bye")).unwrap();
        drop(a);
        let mut intake = Intake::default();
        assert_eq!(intake.read(&b).unwrap(), Read::Some);
        assert_eq!(intake.read(&b).unwrap(), Read::End);
        assert_eq!(decode::<String>(&intake.next().unwrap().unwrap().frame.body).unwrap(), "bye");
        assert!(matches!(Outbox::default().send_user(&b, &encoded(&1)), Err(SendError::Closed)));
    }
}
