//! Frames on the channel: a pure codec over bytes, whatever pieces they come in.
//!
//! `len: u32 · kind: u8 · fds: u8 · 0: u16 · body`, little-endian. A length past the limit is refused before
//! anything is allocated for it.

use std::fmt;

/// The largest body, in bytes.
pub(crate) const MAX_BODY: usize = 16 * 1024 * 1024;

const HEADER: usize = 8;

/// Who reads the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// The cluster: a message of `ipc::message`.
    Control,
    /// The user.
    User,
    /// A process that does not know yet that it is a worker. Only ever the first.
    Birth,
}

/// One frame, taken off the stream.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    /// How many descriptors of those that came with the stream belong to it.
    pub(crate) fds: u8,
    pub(crate) body: Vec<u8>,
}

/// Bytes that are not this protocol. The stream can't be read on after it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Broken {
    TooLong { len: usize },
    UnknownKind(u8),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::TooLong { len } => write!(f, "a frame of {len} bytes, over the limit of {MAX_BODY}"),
            Broken::UnknownKind(kind) => write!(f, "a frame of the unknown kind {kind}"),
        }
    }
}

impl std::error::Error for Broken {}

/// Appends a frame. The caller has checked the body against [`MAX_BODY`].
pub(crate) fn encode(out: &mut Vec<u8>, kind: Kind, fds: u8, body: &[u8]) {
    debug_assert!(body.len() <= MAX_BODY);
    out.reserve(HEADER + body.len());
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&[kind as u8, fds, 0, 0]);
    out.extend_from_slice(body);
}

/// How many bytes of the stream a frame was.
pub(crate) fn size_of(frame: &Frame) -> usize {
    HEADER + frame.body.len()
}

/// Turns pieces of a stream into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    read: usize,
}

impl Decoder {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // Moved to the front only when all frames were taken out: once a read, not once a frame.
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Broken> {
        let rest = &self.bytes[self.read..];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if len > MAX_BODY {
            return Err(Broken::TooLong { len });
        }
        let kind = match header[4] {
            k if k == Kind::Control as u8 => Kind::Control,
            k if k == Kind::User as u8 => Kind::User,
            k if k == Kind::Birth as u8 => Kind::Birth,
            unknown => return Err(Broken::UnknownKind(unknown)),
        };
        let Some(body) = rest.get(..len) else { return Ok(None) };
        let frame = Frame { kind, fds: header[5], body: body.to_vec() };
        self.read += HEADER + len;
        if self.read == self.bytes.len() {
            self.bytes.clear();
            self.read = 0;
            self.bytes.shrink_to(64 * 1024);
        }
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> (Vec<u8>, Vec<Frame>) {
        let frames = vec![
            Frame { kind: Kind::Control, fds: 1, body: vec![1, 2, 3] },
            Frame { kind: Kind::User, fds: 0, body: vec![] },
            Frame { kind: Kind::User, fds: 0, body: vec![9; 70_000] },
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            encode(&mut bytes, frame.kind, frame.fds, &frame.body);
        }
        (bytes, frames)
    }

    #[test]
    fn split_anywhere_and_coalesced_the_frames_are_the_same() {
        let (bytes, expected) = stream();
        for piece in [1, 2, 7, 8, 9, 4096, bytes.len()] {
            let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
            for piece in bytes.chunks(piece) {
                decoder.push(piece);
                while let Some(frame) = decoder.next().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, expected);
        }
    }

    #[test]
    fn a_hostile_length_is_refused_at_its_header() {
        let mut decoder = Decoder::default();
        decoder.push(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(decoder.next(), Err(Broken::TooLong { len: u32::MAX as usize }));
    }

    #[test]
    fn an_unknown_kind_is_an_error_and_no_panic() {
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0, 0, 0, 77, 0, 0, 0]);
        assert_eq!(decoder.next(), Err(Broken::UnknownKind(77)));
    }
}
