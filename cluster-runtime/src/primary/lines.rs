//! Bytes that a worker prints, cut into lines. Pure.

use std::borrow::Cow;
use std::fmt;

/// Where a worker printed a line.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// A line that a worker printed: see [`Primary::on_output`](crate::Primary::on_output).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Line {
    /// Where.
    pub stream: Stream,
    /// What, as it was printed, without its newline: not always UTF-8.
    pub bytes: Vec<u8>,
    /// It was longer than 64 KiB: this is a part of it, and the next line of this stream goes on with it.
    pub cut: bool,
}

impl Line {
    /// As text: what is not UTF-8 is replaced by `�`.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// The longest line that is kept whole.
const LONGEST: usize = 64 * 1024;

/// The beginning of a line whose end has not been printed yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    pub(super) fn begun_with(begun: Vec<u8>) -> Lines {
        Lines { begun }
    }

    pub(super) fn begun(&self) -> &[u8] {
        &self.begun
    }

    /// The lines that `bytes` end.
    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.append(stream, &rest[..end], &mut lines);
            lines.push(Line { stream, bytes: std::mem::take(&mut self.begun), cut: false });
            rest = &rest[end + 1..];
        }
        self.append(stream, rest, &mut lines);
        lines
    }

    /// What was begun and will not be ended any more.
    pub(super) fn end(&mut self, stream: Stream) -> Option<Line> {
        let bytes = std::mem::take(&mut self.begun);
        (!bytes.is_empty()).then_some(Line { stream, bytes, cut: false })
    }

    fn append(&mut self, stream: Stream, mut bytes: &[u8], lines: &mut Vec<Line>) {
        while self.begun.len() + bytes.len() > LONGEST {
            let (part, rest) = bytes.split_at(LONGEST - self.begun.len());
            self.begun.extend_from_slice(part);
            lines.push(Line { stream, bytes: std::mem::take(&mut self.begun), cut: true });
            bytes = rest;
        }
        self.begun.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Lines::default();
        let mut found: Vec<Line> =
            pieces.iter().flat_map(|piece| lines.push(Stream::Stdout, piece)).collect();
        found.extend(lines.end(Stream::Stdout));
        found.into_iter().map(|line| (line.bytes, line.cut)).collect()
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        let text = b"one\n\ntwo\xff\xfe\n\0three";
        let whole: Vec<(Vec<u8>, bool)> =
            [&b"one"[..], b"", b"two\xff\xfe", b"\0three"].map(|line| (line.to_vec(), false)).to_vec();
        assert_eq!(all(&[text]), whole);
        for at in 0..text.len() {
            assert_eq!(all(&[&text[..at], &text[at..]]), whole, "{at}");
        }
        assert_eq!(all(&[]), []);
    }

    #[test]
    fn a_line_that_never_ends_comes_in_parts_that_say_so() {
        let long = vec![b'x'; LONGEST * 2 + 10];
        let lengths = |pieces: &[&[u8]]| -> Vec<(usize, bool)> {
            all(pieces).into_iter().map(|(bytes, cut)| (bytes.len(), cut)).collect()
        };
        let parts = [(LONGEST, true), (LONGEST, true), (10, false)];
        assert_eq!(lengths(&[&long]), parts);
        assert_eq!(lengths(&[&long[..7], &long[7..], b"\n"]), parts);
        assert_eq!(lengths(&[&long[..LONGEST], b"\nx"]), [(LONGEST, false), (1, false)]);
    }
}
