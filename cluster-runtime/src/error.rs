//! Errors of messages. Everything else that can go wrong is an `io::Error` and stays one.

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Why a message was not sent.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SendError {
    /// The other process is gone, or has closed the channel. Node: `ERR_IPC_CHANNEL_CLOSED`.
    Closed,
    /// The other process does not read and 32 MiB wait for it already; try again later, or send less.
    /// Node: `send` returns `false`.
    Full,
    /// The message is larger than one may be, in bytes; send it in parts, or a name of a file.
    TooLarge {
        /// Its size when encoded.
        size: usize,
        /// The limit: 16 MiB.
        limit: usize,
    },
    /// The type can't be encoded, with serde's reason.
    Encode(String),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Closed => {
                f.write_str("the message was not sent: the other process has closed the channel")
            }
            SendError::Full => f.write_str(
                "the message was not sent: the other process does not read and the channel is full",
            ),
            SendError::TooLarge { size, limit } => {
                write!(f, "the message was not sent: it has {size} bytes, and one may have {limit}")
            }
            SendError::Encode(reason) => write!(f, "the message was not sent: it can't be encoded: {reason}"),
        }
    }
}

impl std::error::Error for SendError {}

/// Why a message with a descriptor was not sent; it gives the descriptor back.
#[derive(Debug)]
pub struct SendWithError {
    reason: SendError,
    fd: OwnedFd,
}

impl SendWithError {
    pub(crate) fn new(reason: SendError, fd: OwnedFd) -> SendWithError {
        SendWithError { reason, fd }
    }

    /// Why.
    pub fn reason(&self) -> &SendError {
        &self.reason
    }

    /// The descriptor that was to go with the message. Where nobody asks for it, it is closed.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl fmt::Display for SendWithError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for SendWithError {}

impl From<SendWithError> for SendError {
    /// Closes the descriptor.
    fn from(error: SendWithError) -> SendError {
        error.reason
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AskError {
    /// The question was not sent.
    Send(SendError),
    /// Nobody answered in time. An answer that comes later is ignored.
    TimedOut {
        /// The time that there was.
        within: Duration,
    },
    /// There will be no answer, for a reason that the other process gives in words: nobody there reads this question,
    /// whoever did dropped it or panicked, or the answer can't be sent.
    Refused(String),
    /// The other process has closed the channel, or ended, and had not answered.
    Closed,
    /// There is an answer, and it is not of the type that was asked for, with serde's reason.
    Decode(String),
    /// Too many questions wait for their answers: ask fewer at once.
    TooMany {
        /// The limit, for each worker and each direction: 65 536.
        limit: usize,
    },
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Send(error) => write!(f, "a question was not asked: {error}"),
            AskError::TimedOut { within } => write!(f, "a question was not answered within {within:?}"),
            AskError::Refused(reason) => write!(f, "a question was refused: {reason}"),
            AskError::Closed => {
                f.write_str("a question was not answered: the other process has closed the channel")
            }
            AskError::Decode(reason) => {
                write!(f, "the answer to a question is of another type than was asked for: {reason}")
            }
            AskError::TooMany { limit } => {
                write!(f, "a question was not asked: {limit} others wait for their answers")
            }
        }
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AskError::Send(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a message from worker to worker did not reach everybody it was for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RelayError {
    /// The primary could not pass it on to the workers in these slots: [`SendError::Closed`] where nobody fills the slot,
    /// [`SendError::Full`] where somebody does not read. All others got it.
    Lost(Vec<(usize, SendError)>),
    /// The primary is gone, and has not said what it did with the message.
    Closed,
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RelayError::Lost(lost) = self else {
            return f.write_str("a message to another worker may be lost: the primary is gone");
        };
        f.write_str("a message was not passed on")?;
        for (n, (slot, why)) in lost.iter().enumerate() {
            let separator = if n == 0 { " to slot" } else { ", slot" };
            let why = if *why == SendError::Full { "it does not read" } else { "nobody fills it" };
            write!(f, "{separator} {slot}: {why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RelayError {}
