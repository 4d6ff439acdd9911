//! Everything that primary and worker ever say to each other.
//!
//! Control messages are MessagePack maps with named fields, so that two versions of a program can talk: unknown
//! fields are passed over, and a new field gets a default. What users send is a frame kind of its own and can
//! never be taken for one of these.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::Address;

/// The protocol's version: that of the frames and of this vocabulary. Each side's first frame says it.
pub(crate) const PROTOCOL: u64 = 2;

/// Names a listening socket of the primary, for its life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct ListenerId(pub(crate) u32);

/// Names a lane, never used again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct LaneId(pub(crate) u64);

/// Pairs an answer with its question; counted by the worker.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Call(pub(crate) u32);

/// Worker → primary.                                      // fd? · when
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum ToPrimary {
    /// I run.                                             // first message, once
    Online,
    /// Bind this, or share it with those who asked before.  // answered by Bound
    Bind { call: Call, key: Key, backlog: u32 },
    /// I hold it no more: close it when nobody does.
    Unbind { listener: ListenerId },
    /// Take this listening socket over.                   // fd · answered by Bound
    Adopt { call: Call },
    /// I am ready to serve these: open a lane for them.   // answered by Lane
    /// `by_itself`: I could accept from them by myself, if I am given the sockets.
    Listen {
        call: Call,
        listeners: Vec<ListenerId>,
        #[serde(default)]
        by_itself: bool,
        /// What I do stands on the board.
        #[serde(default)]
        counts: bool,
    },
    /// From these I accept by myself, as long as I read from this lane.  // after Socket, Lane
    Accepts { lane: LaneId, listeners: Vec<ListenerId> },
    /// Nothing more on this lane; give what I have not read to others.
    Full { lane: LaneId },
    /// There is room again.                               // after Full
    Room { lane: LaneId },
    /// I stop serving on this lane: end it.
    Unlisten { lane: LaneId },
    /// I read no more from this lane: take back what is on it.  // the last word on it
    Gone { lane: LaneId },
    /// I am up, though I listen to nothing.
    Ready,
    /// The thread that reads this lane lives; without a lane, the runtime of the body. So I say `every_ms`.
    /// `board_ms`: so often, and on the board. To a primary that does not look there I say `every_ms`, for ever: it is not to wait
    /// for what it can't see.
    Beat {
        lane: Option<LaneId>,
        every_ms: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        board_ms: Option<u64>,
    },
    /// The runtime of the body has ended: I beat for it no more.
    Still,
    /// My first connection is done with: I have proven myself. // once
    Proven,
    /// I have done enough: replace me.                    // once
    Worn { why: Wear },
    /// I want to leave: voluntarily, or because somebody sent me a SIGTERM.  // answered by Drain
    Leave { voluntary: bool },
    /// I print by myself, as far as I could be brought to: read on for whoever else has the pipe.  // answers Stderr
    Stderr,
}

/// Why a worker is to be replaced by a new one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Wear {
    /// It has served so many requests.
    Requests(u64),
    /// It has so many bytes for itself alone.
    Memory(u64),
    /// It is so old. Known by the primary, and never said.
    Age(Duration),
}

impl fmt::Display for Wear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wear::Requests(served) => write!(f, "has served {served} requests"),
            Wear::Memory(bytes) => write!(f, "has {} MB for itself alone", bytes / 1_000_000),
            Wear::Age(age) => write!(f, "is {age:.1?} old"),
        }
    }
}

/// Primary → worker.                                      // fd? · when
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum ToWorker {
    /// The answer to Bind and Adopt.                       // fd for UDP: the socket itself
    Bound { call: Call, result: Result<BoundTo, WireError> },
    /// A listening socket to accept from by yourself: not to be shut down, nor read from when you leave.  // fd · before Lane
    Socket { call: Call, listener: ListenerId },
    /// The answer to Listen: your end of the lane.        // fd unless an error
    Lane {
        call: Call,
        result: Result<LaneId, WireError>,
        /// Count on this line of your row.
        #[serde(default)]
        line: Option<u8>,
    },
    /// Finish what you have and go. Your lanes end as soon as you have read what is on them.  // once
    Drain { within_ms: u64 },
    /// The cluster is about to stop: serve on, and let those know who ask how you are.  // before Drain, or never
    Stopping,
    /// Pass on what is left in this pipe, by its inode, and print to mine from now on.  // fd · once, where it is ready
    Stderr { pipe: u64 },
}

/// What a worker asks for. Whoever asks for the same gets the same socket.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Key {
    pub(crate) site: Site,
    /// How often this worker has it already: port 0 asked for twice is two ports.
    pub(crate) nth: u32,
    /// Where nothing is said, the system's default.
    pub(crate) ipv6_only: Option<bool>,
    /// Of a socket file.
    pub(crate) mode: Option<u32>,
}

/// Where a socket comes from.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Site {
    /// It is to be bound.
    Address(Address),
    /// A descriptor that the primary was started with, by its number there.
    Inherited(i32, Kind),
    /// A socket that a service manager passed to the primary, by its name.
    Activated(String, Kind),
}

impl Site {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Site::Address(address) if address.is_stream() => Kind::Stream,
            Site::Address(_) => Kind::Datagram,
            Site::Inherited(_, kind) | Site::Activated(_, kind) => *kind,
        }
    }
}

/// What kind of socket a descriptor is to be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Kind {
    Stream,
    Datagram,
}

/// A socket the primary listens on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct BoundTo {
    pub(crate) listener: ListenerId,
    pub(crate) address: Address,
}

/// A worker that a relayed message was for, and did not reach.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Untold {
    pub(crate) slot: usize,
    /// It does not read; else nobody is there.
    pub(crate) full: bool,
}

/// An `io::Error` on its way to the process that asked.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct WireError {
    code: Option<i32>,
    #[serde(default)]
    kind: WireKind,
    message: String,
}

/// The kinds of our own errors; the kernel's follow from their codes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
enum WireKind {
    #[default]
    Other,
    InvalidInput,
    NotFound,
    PermissionDenied,
}

impl From<&io::Error> for WireError {
    fn from(error: &io::Error) -> WireError {
        let kind = match error.kind() {
            io::ErrorKind::InvalidInput => WireKind::InvalidInput,
            io::ErrorKind::NotFound => WireKind::NotFound,
            io::ErrorKind::PermissionDenied => WireKind::PermissionDenied,
            _ => WireKind::Other,
        };
        WireError { code: error.raw_os_error(), kind, message: error.to_string() }
    }
}

impl From<WireError> for io::Error {
    fn from(error: WireError) -> io::Error {
        let kind = match (error.code, error.kind) {
            (Some(code), _) => return io::Error::from_raw_os_error(code),
            (None, WireKind::Other) => io::ErrorKind::Other,
            (None, WireKind::InvalidInput) => io::ErrorKind::InvalidInput,
            (None, WireKind::NotFound) => io::ErrorKind::NotFound,
            (None, WireKind::PermissionDenied) => io::ErrorKind::PermissionDenied,
        };
        io::Error::new(kind, error.message)
    }
}

/// What rides beside a connection on the lane: fixed bytes, since it is written for each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Handoff {
    pub(crate) listener: ListenerId,
    /// The client, where it has an address.
    pub(crate) peer: Option<SocketAddr>,
}

impl Handoff {
    pub(crate) const SIZE: usize = 32;

    pub(crate) fn encode(&self) -> [u8; Handoff::SIZE] {
        let mut bytes = [0; Handoff::SIZE];
        bytes[0..4].copy_from_slice(&self.listener.0.to_le_bytes());
        let Some(peer) = self.peer else { return bytes };
        bytes[6..8].copy_from_slice(&peer.port().to_le_bytes());
        match peer {
            SocketAddr::V4(v4) => {
                bytes[4] = 4;
                bytes[8..12].copy_from_slice(&v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                bytes[4] = 6;
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.flowinfo().to_le_bytes());
                bytes[28..32].copy_from_slice(&v6.scope_id().to_le_bytes());
            }
        }
        bytes
    }

    /// `None` for bytes that no primary wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Handoff> {
        let bytes: &[u8; Handoff::SIZE] = bytes.try_into().ok()?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let port = u16::from_le_bytes([bytes[6], bytes[7]]);
        let peer = match bytes[4] {
            0 => None,
            4 => Some((IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[8..12]).ok()?)), port).into()),
            6 => {
                let ip = Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[8..24]).ok()?);
                Some(SocketAddrV6::new(ip, port, word(24), word(28)).into())
            }
            _ => return None,
        };
        Some(Handoff { listener: ListenerId(word(0)), peer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handoff_survives_its_way() {
        for peer in [None, Some("127.0.0.1:80"), Some("[fe80::1]:65535"), Some("0.0.0.0:0")] {
            let peer = peer.map(|peer| peer.parse().unwrap());
            let handoff = Handoff { listener: ListenerId(7), peer };
            assert_eq!(Handoff::decode(&handoff.encode()), Some(handoff));
        }
        let scoped = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, 2, 3).into();
        let handoff = Handoff { listener: ListenerId(u32::MAX), peer: Some(scoped) };
        assert_eq!(Handoff::decode(&handoff.encode()), Some(handoff));
        assert_eq!(Handoff::decode(&[9; Handoff::SIZE]), None);
        assert_eq!(Handoff::decode(&[0; 31]), None);
    }

    #[test]
    fn an_error_of_the_kernel_stays_one() {
        let refused = io::Error::from_raw_os_error(98);
        assert_eq!(io::Error::from(WireError::from(&refused)).kind(), io::ErrorKind::AddrInUse);
        let ours = io::Error::new(io::ErrorKind::PermissionDenied, "not this one");
        let arrived = io::Error::from(WireError::from(&ours));
        assert_eq!((arrived.kind(), arrived.to_string().as_str()), (ours.kind(), "not this one"));
    }
}
