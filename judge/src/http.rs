//! HTTP/1.1 as far as the judge needs it: requests that it writes itself, answers that say their length.

use std::io::Read;

use crate::content::{self, Digest};
use crate::plan::Kind;
use crate::record::End;
use crate::wire::Wire;

/// More than any head of an answer has.
const HEAD: usize = 64 * 1024;

/// A piece of a body.
pub(crate) const PIECE: usize = 16 * 1024;

/// A request, and what has to come back.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Whether asking twice does no more than asking once.
    pub(crate) idempotent: bool,
    pub(crate) expected: Digest,
}

impl Request {
    /// What a client of this kind asks. `closes`: and nothing after it.
    pub(crate) fn new(kind: Kind, id: u64, millis: u64, length: usize, closes: bool) -> Self {
        let body = if kind == Kind::Upload { content::bytes(id, length) } else { Vec::new() };
        let (line, expected) = match kind {
            Kind::Upload => (format!("POST /echo/{id}"), Digest::of(content::receipt(id, &body).as_bytes())),
            Kind::Download => (format!("GET /bytes/{id}/{length}"), Digest::of(&content::bytes(id, length))),
            _ => (format!("GET /answer/{id}/{millis}"), Digest::of(content::answer(id).as_bytes())),
        };
        let closing = if closes { "Connection: close\r\n" } else { "" };
        let sized = match body.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        let head = format!("{line} HTTP/1.1\r\nHost: judge\r\n{closing}{sized}\r\n");
        Self { head, body, idempotent: kind != Kind::Upload, expected }
    }

    pub(crate) fn size(&self) -> u64 {
        (self.head.len() + self.body.len()) as u64
    }
}

/// An answer, complete as far as its own length goes.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) digest: Digest,
    /// Whether the server takes no more on this connection.
    pub(crate) closes: bool,
    /// How the body begins.
    pub(crate) text: String,
}

/// The answers on one connection.
#[derive(Debug)]
pub(crate) struct Answers<'a> {
    wire: &'a Wire,
    /// Bytes that have come and belong to no answer yet.
    ahead: Vec<u8>,
}

impl<'a> Answers<'a> {
    pub(crate) fn on(wire: &'a Wire) -> Self {
        Self { wire, ahead: Vec::new() }
    }

    /// Reads one answer; with it, how many bytes of it came. `piece` is called after each piece of the body.
    pub(crate) fn next(&mut self, piece: impl FnMut()) -> (u64, Result<Answer, End>) {
        let before = self.wire.read() - self.ahead.len() as u64;
        let answer = self.answer(piece);
        (self.wire.read() - before - self.ahead.len() as u64, answer)
    }

    fn answer(&mut self, mut piece: impl FnMut()) -> Result<Answer, End> {
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            if self.ahead.len() > HEAD {
                return self.wrong(HEAD, "a head without an end");
            }
            self.more().inspect_err(|_| self.ahead.clear())?;
        };
        let head = String::from_utf8_lossy(&self.ahead[..end]).to_ascii_lowercase();
        let field = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let status = head.strip_prefix("http/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let length = field("content-length").and_then(|length| length.parse().ok());
        let (Some(status), Some(length)) = (status, length) else {
            return self.wrong(end, "neither a status nor a length");
        };
        let closes = field("connection") == Some("close");
        self.ahead.drain(..end);
        let mut text = Vec::new();
        let mut digest = Digest::NOTHING;
        while digest.length < length {
            if self.ahead.is_empty() {
                self.more()?;
            }
            let n = self.ahead.len().min(usize::try_from(length - digest.length).unwrap_or(usize::MAX));
            let bytes = &self.ahead[..n];
            digest.add(bytes);
            text.extend(bytes.iter().take(100usize.saturating_sub(text.len())));
            self.ahead.drain(..n);
            if digest.length < length {
                piece();
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Answer { status, digest, closes, text })
    }

    fn wrong(&mut self, length: usize, what: &str) -> Result<Answer, End> {
        let text = String::from_utf8_lossy(&self.ahead[..length.min(200)]).into_owned();
        self.ahead.clear();
        Err(End::Wrong(format!("{what} in {text:?}")))
    }

    /// What has come although all that was asked is answered.
    pub(crate) fn unasked(&mut self) -> Option<End> {
        let text = String::from_utf8_lossy(&self.ahead[..self.ahead.len().min(100)]).into_owned();
        match &*self.ahead {
            [] => None,
            [b'H', b'T', b'T', b'P', b'/', ..] => Some(End::Again(text)),
            _ => Some(End::Wrong(format!("more than was asked for: {text:?}"))),
        }
    }

    /// What comes before the end of the connection, after the last answer; `None` if that is just the end.
    pub(crate) fn rest(&mut self) -> Option<End> {
        loop {
            match self.more() {
                Ok(()) if self.ahead.len() > HEAD => return self.unasked(),
                Ok(()) => {}
                // The answer is complete, in whatever way the connection ends now.
                Err(End::Closed | End::Broken(_)) => return self.unasked(),
                Err(late) => return self.unasked().or(Some(late)),
            }
        }
    }

    /// Reads once.
    pub(crate) fn more(&mut self) -> Result<(), End> {
        let mut piece = [0; PIECE];
        match (&mut &*self.wire).read(&mut piece)? {
            0 => Err(End::Closed),
            n => {
                self.ahead.extend_from_slice(&piece[..n]);
                Ok(())
            }
        }
    }
}
