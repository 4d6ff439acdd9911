//! One request's record, and the one class that it is in. Pure: a record says all that the class depends on.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// What became of a request. The README says what each one means for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Answered completely and rightly.
    Ok,
    /// The server closed an idle connection before this request was written, or had said that it would take no more.
    IdleClose,
    /// Nobody listened.
    Refused,
    /// The connection broke before a byte of the request was written.
    Reset,
    /// Written, as a whole or in part, and not a byte came back.
    Lost,
    /// The answer broke off.
    Truncated,
    /// The answer is not the one to this request.
    Corrupt,
    /// An answer came that had come before, or that nobody had asked for.
    Duplicate,
    /// Neither an answer nor an end in time.
    Timeout,
    /// Lost, but where a client may ask again: the connection ended while the request was on its way.
    Raced,
}

impl Class {
    /// All of them, in the order of the table's columns.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::IdleClose,
        Self::Refused,
        Self::Reset,
        Self::Lost,
        Self::Truncated,
        Self::Corrupt,
        Self::Duplicate,
        Self::Timeout,
        Self::Raced,
    ];

    /// Whether it speaks against the server.
    #[must_use]
    pub fn is_bad(self) -> bool {
        !matches!(self, Self::Ok | Self::IdleClose)
    }

    /// As the table calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::IdleClose => "idle close",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Lost => "lost",
            Self::Truncated => "truncated",
            Self::Corrupt => "corrupt",
            Self::Duplicate => "duplicate",
            Self::Timeout => "timeout",
            Self::Raced => "raced",
        }
    }
}

/// How the bytes ended.
#[derive(Clone, Debug)]
pub enum End {
    /// With a right answer.
    Complete,
    /// connect(2) failed.
    Unopened(Arc<io::Error>),
    /// The server ended the connection in order.
    Closed,
    /// A WebSocket ended without a Close frame while nothing was under way.
    Unfinished,
    /// The socket failed.
    Broken(Arc<io::Error>),
    /// The time was over.
    Late,
    /// What came is not what had to come.
    Wrong(String),
    /// What came had come before, or was not asked for.
    Again(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Late,
            ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Broken(Arc::new(error)),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::Unopened(error) => write!(f, "connect: {error}"),
            Self::Closed => f.write_str("end of the connection"),
            Self::Unfinished => f.write_str("end of the connection without a Close frame"),
            Self::Broken(error) => write!(f, "{error}"),
            Self::Late => f.write_str("nothing in time"),
            Self::Wrong(what) => write!(f, "wrong: {what}"),
            Self::Again(what) => write!(f, "not asked for: {what}"),
        }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Record {
    /// Which row of the table it belongs to: the crew and the server's address.
    pub client: Arc<str>,
    /// The request's id, which no other request of this trial has.
    pub id: u64,
    /// The connection: numbered within its client.
    pub connection: u64,
    /// The client's own address; empty when it has none.
    pub local: String,
    /// When it began, since the trial's beginning.
    pub began: Duration,
    /// How long it took.
    pub took: Duration,
    /// Whether the connection was open and idle just before: all that was asked on it was answered, or it had been
    /// opened ahead of time.
    pub idle: bool,
    /// Whether a client may ask again where a connection ends without an answer: an idempotent request on a connection
    /// that was not opened for it, or was opened long before, or a message that crossed with the server's Close frame.
    pub repeatable: bool,
    /// Whether it was written so late, after the connection was opened or last asked on, that a server which leaves could not
    /// but have closed the connection: be it that the client is slow by intent, or that it was kept from its processor.
    pub late: bool,
    /// Whether the server had said, before its answer to this one, that it would take no more.
    pub dismissed: bool,
    /// How many bytes it has.
    pub size: u64,
    /// How many of them the kernel took.
    pub written: u64,
    /// How many bytes of an answer came.
    pub read: u64,
    /// How it ended.
    pub end: End,
}

impl Record {
    /// The one class that it is in.
    #[must_use]
    pub fn class(&self) -> Class {
        match &self.end {
            End::Complete => Class::Ok,
            End::Unopened(error) => match error.kind() {
                // A Unix socket whose file is gone is not found.
                ErrorKind::ConnectionRefused | ErrorKind::NotFound => Class::Refused,
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Class::Timeout,
                _ => Class::Reset,
            },
            End::Late => Class::Timeout,
            End::Wrong(_) => Class::Corrupt,
            End::Again(_) => Class::Duplicate,
            End::Unfinished => Class::Truncated,
            End::Closed | End::Broken(_) => self.broken(),
        }
    }

    fn broken(&self) -> Class {
        match self {
            _ if self.read > 0 => Class::Truncated,
            _ if self.dismissed => Class::IdleClose,
            _ if self.written == 0 && self.idle && !self.is_aborted() => Class::IdleClose,
            _ if self.written == 0 => Class::Reset,
            _ if self.repeatable => Class::Raced,
            _ => Class::Lost,
        }
    }

    /// A connection that is closed in order ends with a FIN, or with EPIPE where it is a Unix socket.
    fn is_aborted(&self) -> bool {
        matches!(&self.end, End::Broken(error) if error.kind() == ErrorKind::ConnectionReset)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at {:.6} s for {:.6} s: {}, request {} on connection {}{}{}, written {} of {}, read {}: {}",
            self.class().name(),
            self.began.as_secs_f64(),
            self.took.as_secs_f64(),
            self.client,
            self.id,
            self.connection,
            if self.idle { " (idle before)" } else { "" },
            if self.local.is_empty() { String::new() } else { format!(" from {}", self.local) },
            self.written,
            self.size,
            self.read,
            self.end,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(end: End, read: u64, written: u64, flags: &str) -> Class {
        let record = Record {
            client: "test".into(),
            id: 1,
            connection: 1,
            local: String::new(),
            began: Duration::ZERO,
            took: Duration::ZERO,
            idle: flags.contains('i'),
            repeatable: flags.contains('r'),
            late: false,
            dismissed: flags.contains('d'),
            size: 100,
            written,
            read,
            end,
        };
        record.class()
    }

    fn error(kind: ErrorKind) -> End {
        End::from(io::Error::from(kind))
    }

    #[test]
    fn every_end_has_its_class() {
        let unopened = |kind| End::Unopened(Arc::new(io::Error::from(kind)));
        assert_eq!(class(End::Complete, 9, 9, ""), Class::Ok);
        assert_eq!(class(unopened(ErrorKind::ConnectionRefused), 0, 0, ""), Class::Refused);
        assert_eq!(class(unopened(ErrorKind::NotFound), 0, 0, ""), Class::Refused);
        assert_eq!(class(unopened(ErrorKind::TimedOut), 0, 0, ""), Class::Timeout);
        assert_eq!(class(unopened(ErrorKind::ConnectionReset), 0, 0, ""), Class::Reset);
        assert_eq!(class(error(ErrorKind::WouldBlock), 50, 100, ""), Class::Timeout);
        assert_eq!(class(End::Wrong(String::new()), 50, 100, ""), Class::Corrupt);
        assert_eq!(class(End::Again(String::new()), 50, 0, ""), Class::Duplicate);
        assert_eq!(class(End::Unfinished, 0, 0, "i"), Class::Truncated);
    }

    #[test]
    fn a_broken_connection_is_judged_by_what_went_over_it() {
        for end in [error(ErrorKind::UnexpectedEof), error(ErrorKind::ConnectionReset)] {
            assert_eq!(class(end.clone(), 1, 100, "ir"), Class::Truncated);
            assert_eq!(class(end.clone(), 0, 0, ""), Class::Reset);
            assert_eq!(class(end.clone(), 0, 1, ""), Class::Lost);
            assert_eq!(class(end.clone(), 0, 100, "i"), Class::Lost);
            assert_eq!(class(end.clone(), 0, 100, "ir"), Class::Raced);
            assert_eq!(class(end, 0, 100, "ird"), Class::IdleClose);
        }
        assert_eq!(class(error(ErrorKind::UnexpectedEof), 0, 0, "ir"), Class::IdleClose);
        assert_eq!(class(error(ErrorKind::BrokenPipe), 0, 0, "ir"), Class::IdleClose);
        assert_eq!(class(error(ErrorKind::ConnectionReset), 0, 0, "ir"), Class::Reset);
    }
}
