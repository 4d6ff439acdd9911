//! What a worker said last. Pure.

/// How many lines are kept, and how many bytes of them.
const LINES: usize = 10;
const BYTES: usize = 2048;

/// The end of what it has printed to its standard error.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    /// Something came before.
    cut: bool,
}

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (before, fresh) = bytes.split_at(bytes.len().saturating_sub(BYTES));
        self.bytes.extend_from_slice(fresh);
        let over = self.bytes.len().saturating_sub(BYTES);
        self.bytes.drain(..over);
        self.cut |= over > 0 || !before.is_empty();
    }

    /// As text, whole lines where there is one: what is not UTF-8 is replaced by `�`.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let mut text = text.trim_end();
        // A replaced byte takes three.
        text = &text[text.ceil_char_boundary(text.len().saturating_sub(BYTES))..];
        if self.cut {
            text = text.split_once('\n').map_or(text, |(_, whole)| whole);
        }
        let begin = text.rmatch_indices('\n').nth(LINES - 1).map_or(0, |(at, _)| at + 1);
        text[begin..].trim_start_matches(['\n', '\r']).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pieces: &[&[u8]]) -> String {
        let mut tail = Tail::default();
        pieces.iter().for_each(|piece| tail.push(piece));
        tail.text()
    }

    #[test]
    fn the_last_ten_lines_are_kept_however_they_came() {
        let lines: String = (0..30).map(|n| format!("line {n}\n")).collect();
        let last: Vec<_> = (20..30).map(|n| format!("line {n}")).collect();
        assert_eq!(said(&[lines.as_bytes()]), last.join("\n"));
        let bytes: Vec<_> = lines.as_bytes().chunks(1).collect();
        assert_eq!(said(&bytes), last.join("\n"));
        assert_eq!(said(&[b"\nthread 'main' panicked\n", b"a bug"]), "thread 'main' panicked\na bug");
        assert_eq!(said(&[b"", b"\n\n"]), "");
    }

    #[test]
    fn it_is_bounded_and_text_whatever_is_printed() {
        let flood = vec![b'x'; 5000];
        assert_eq!(said(&[&flood]), "x".repeat(BYTES), "a line that is cut is better than none");
        assert_eq!(said(&[&flood, b"\nthe reason\n"]), "the reason");
        let odd = said(&[&vec![0xff; 5000]]);
        assert!(odd.len() <= BYTES && odd.chars().all(|c| c == '\u{fffd}'), "{} bytes", odd.len());
        let wide = "ü".repeat(3000);
        assert!(said(&[wide.as_bytes()]).len() <= BYTES);
    }
}
