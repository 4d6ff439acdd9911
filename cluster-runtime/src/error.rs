//! Errors of sending. Everything else that can go wrong is an `io::Error` and stays one.

use std::fmt;

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
