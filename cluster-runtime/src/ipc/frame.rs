//! Frames on the channel: a pure codec over bytes, whatever pieces they come in.
//!
//! `len: u32 · kind: u8 · fds: u8 · to: u16 · number: u64 · body`, little-endian. A length past the limit is refused at
//! its header, and memory is taken for what has come, not for what was announced.

use std::fmt;

/// The largest body, in bytes.
pub(crate) const MAX_BODY: usize = 16 * 1024 * 1024;

/// Before each body, in bytes. What a [`Kind::Hello`] has here stays as it is in every version of the protocol.
pub(crate) const HEADER: usize = 16;

/// Bytes that are asked of the kernel at a time, at first: most channels never carry more, and each page of a buffer is one
/// that its process has for itself, in every worker and for every worker in the primary.
const FIRST_READ: usize = 2 * 1024;

/// The same once reads come back full.
const READ: usize = 64 * 1024;

/// What a frame is, and so who reads the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The cluster: a message of `ipc::message`.
    Control = 0,
    /// The user.
    User = 1,
    /// The first frame each way: `number` is the protocol's version, the body names the build.
    Hello = 2,
    /// A user's question, to be answered under its number.
    Ask = 3,
    /// The answer to the question of this number, or, to a [`Kind::Relay`], who was not told.
    Answer = 4,
    /// There will be no answer; the body is the reason, in words.
    Refusal = 5,
    /// A user's message for the worker in slot `to`, or for all others; the primary passes the body on unread.
    Relay = 6,
    /// To a process that does not know yet that it is a worker. Only ever the first.
    Birth = 7,
    /// To a process that is asked whether it could take the primary's place, and its answer. Only ever the first, and the
    /// last.
    Check = 8,
}

/// The slot in a [`Kind::Relay`] to all other workers.
pub(crate) const ALL: u16 = u16::MAX;

/// What is said of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// A slot, in a relay; else 0.
    pub(crate) to: u16,
    /// Pairs an answer with its question; 0 where there is none.
    pub(crate) number: u64,
}

/// One frame, taken off the stream.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) head: Head,
    /// Whether one of the descriptors that came with the stream belongs to it.
    pub(crate) has_fd: bool,
    pub(crate) body: Vec<u8>,
}

/// Bytes that are not this protocol. The stream can't be read on after it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Broken {
    TooLong {
        len: usize,
    },
    UnknownKind(u8),
    /// More descriptors than a frame may have.
    TooManyFds(u8),
    /// A slot or a number where there is none.
    Header(Kind),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::TooLong { len } => write!(f, "a frame of {len} bytes, over the limit of {MAX_BODY}"),
            Broken::UnknownKind(kind) => write!(f, "a frame of the unknown kind {kind}"),
            Broken::TooManyFds(fds) => write!(f, "a frame with {fds} descriptors"),
            Broken::Header(kind) => write!(f, "a frame of the kind {kind:?} with what belongs to another"),
        }
    }
}

impl std::error::Error for Broken {}

impl Head {
    pub(crate) const CONTROL: Head = Head::of(Kind::Control, 0);
    pub(crate) const USER: Head = Head::of(Kind::User, 0);

    pub(crate) const fn of(kind: Kind, number: u64) -> Head {
        Head { kind, to: 0, number }
    }

    pub(crate) const fn relay(to: u16, number: u64) -> Head {
        Head { kind: Kind::Relay, to, number }
    }

    fn decode(kind: u8, to: u16, number: u64) -> Result<Head, Broken> {
        const KINDS: [Kind; 9] = [
            Kind::Control,
            Kind::User,
            Kind::Hello,
            Kind::Ask,
            Kind::Answer,
            Kind::Refusal,
            Kind::Relay,
            Kind::Birth,
            Kind::Check,
        ];
        let kind = *KINDS.get(usize::from(kind)).ok_or(Broken::UnknownKind(kind))?;
        let numberless = matches!(kind, Kind::Control | Kind::User | Kind::Birth | Kind::Check);
        if (to != 0 && kind != Kind::Relay) || (number != 0 && numberless) {
            return Err(Broken::Header(kind));
        }
        Ok(Head { kind, to, number })
    }
}

/// Appends a frame. The caller has checked the body against [`MAX_BODY`].
pub(crate) fn encode(out: &mut Vec<u8>, head: Head, has_fd: bool, body: &[u8]) {
    debug_assert!(body.len() <= MAX_BODY);
    let mut header = [0; HEADER];
    header[0..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    header[4] = head.kind as u8;
    header[5] = u8::from(has_fd);
    header[6..8].copy_from_slice(&head.to.to_le_bytes());
    header[8..16].copy_from_slice(&head.number.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(body);
}

/// Has the frame with which these bytes begin say that it has no descriptor.
pub(crate) fn without_fd(bytes: &mut [u8]) {
    bytes[5] = 0;
}

/// How many bytes of the stream a frame was.
pub(crate) fn size_of(frame: &Frame) -> usize {
    HEADER + frame.body.len()
}

/// Turns pieces of a stream into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// Kept initialized to its length, so that a read needs no other buffer.
    bytes: Vec<u8>,
    /// A read has come back full: there was more, and there will be again.
    busy: bool,
    /// What has come and was not yet taken is between the two.
    start: usize,
    end: usize,
}

impl Decoder {
    /// Room for the next piece; [`filled`](Decoder::filled) says how much of it was used. It grows with what has come,
    /// whatever length was announced.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        // Moved to the front once a read, not once a frame.
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let wanted = self.end + self.end.max(if self.busy { READ } else { FIRST_READ });
        if self.bytes.len() < wanted || (self.end == 0 && self.bytes.len() > 4 * READ) {
            self.bytes.resize(wanted, 0);
            self.bytes.shrink_to(wanted);
        }
        &mut self.bytes[self.end..]
    }

    pub(crate) fn filled(&mut self, count: usize) {
        self.busy |= count >= FIRST_READ;
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// What has come and is not whole.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Takes these in as if they had just come.
    pub(crate) fn fill(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.room();
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.filled(count);
            bytes = &bytes[count..];
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Broken> {
        let rest = &self.bytes[self.start..self.end];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [l0, l1, l2, l3, kind, fds, t0, t1, number @ ..] = *header;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if len > MAX_BODY {
            return Err(Broken::TooLong { len });
        }
        let head = Head::decode(kind, u16::from_le_bytes([t0, t1]), u64::from_le_bytes(number))?;
        if fds > 1 {
            return Err(Broken::TooManyFds(fds));
        }
        let Some(body) = rest.get(..len) else { return Ok(None) };
        let frame = Frame { head, has_fd: fds == 1, body: body.to_vec() };
        self.start += HEADER + len;
        Ok(Some(frame))
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
