//! As much of HTTP/1.1 as the measured servers answer with. Pure.

/// A complete answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Response<'a> {
    /// The status was 200.
    pub(crate) ok: bool,
    /// The server keeps the connection.
    pub(crate) stays: bool,
    pub(crate) body: &'a [u8],
}

/// `None` while there is more to come. An answer without a length ends with its connection.
pub(crate) fn read(bytes: &[u8], ended: bool) -> Option<Response<'_>> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let (mut length, mut stays) = (None, true);
    for line in bytes[..end].split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = Some(std::str::from_utf8(value).ok()?.parse::<usize>().ok()?);
        } else if name.eq_ignore_ascii_case(b"connection") {
            stays = !value.eq_ignore_ascii_case(b"close");
        }
    }
    let ok = bytes.starts_with(b"HTTP/1.1 200");
    let body = match length {
        Some(length) => bytes.get(end..end + length)?,
        None if ended => &bytes[end..],
        None => return None,
    };
    Some(Response { ok, stays: stays && length.is_some(), body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_when_its_body_is() {
        let all = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\nserver: x\r\n\r\nyes";
        assert_eq!(read(&all[..all.len() - 1], true), None);
        assert_eq!(read(&all[..20], false), None);
        assert_eq!(read(all, false), Some(Response { ok: true, stays: true, body: b"yes" }));
    }

    #[test]
    fn an_answer_without_a_length_ends_with_its_connection() {
        let all = b"HTTP/1.1 200 OK\r\n\r\nyes";
        assert_eq!(read(all, false), None);
        assert_eq!(read(all, true), Some(Response { ok: true, stays: false, body: b"yes" }));
    }

    #[test]
    fn a_server_may_refuse_and_may_leave() {
        let all = b"HTTP/1.1 503 No\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(all, false), Some(Response { ok: false, stays: false, body: b"" }));
    }
}
