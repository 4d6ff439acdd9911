//! A policy of one's own, and what it chooses from.

use std::fmt;
use std::net::SocketAddr;

use crate::config::Policy;
use crate::event::Address;

/// One connection, and who may get it. See [`Policy::Own`].
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    pub(crate) candidates: &'a [Candidate],
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) address: &'a Address,
}

impl<'a> Choice<'a> {
    /// The workers that serve this address and have room, in the order of their slots; at least one, and each slot once.
    pub fn candidates(&self) -> &'a [Candidate] {
        self.candidates
    }

    /// Who has connected; nothing over a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Where the cluster listens for it.
    pub fn address(&self) -> &'a Address {
        self.address
    }
}

/// A worker that may get a connection, as the primary sees it at this moment; over all of its threads that serve the address.
///
/// What it has received, has open and has served it counts itself. They are 0 where it does not, which is only so of a
/// worker that an earlier version of the program has left over an upgrade.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate {
    pub(crate) id: u64,
    pub(crate) slot: usize,
    pub(crate) generation: u64,
    pub(crate) handed: u64,
    pub(crate) unread: u64,
    pub(crate) received: u64,
    pub(crate) open: u64,
    pub(crate) served: u64,
}

impl Candidate {
    /// Another lane of the same worker. What a worker says of itself may be any number.
    pub(crate) fn add(&mut self, lane: &Candidate) {
        for (sum, part) in [
            (&mut self.handed, lane.handed),
            (&mut self.unread, lane.unread),
            (&mut self.received, lane.received),
            (&mut self.open, lane.open),
            (&mut self.served, lane.served),
        ] {
            *sum = sum.saturating_add(part);
        }
    }

    /// Its number, which counts up from 1 and is never used again.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its place, which its replacement takes over: this is what a policy returns.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Its generation: 1 at first, and one more with each reload.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Connections that it has open, and those on their way to it: what `least-connections` compares.
    pub fn load(&self) -> u64 {
        self.open.saturating_add(self.unread)
    }

    /// Connections that it has open.
    pub fn open(&self) -> u64 {
        self.open
    }

    /// Connections that were given to it and that it has not begun with.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// Connections that were given to it, ever, with those that were given to others after all.
    pub fn handed(&self) -> u64 {
        self.handed
    }

    /// Connections that it has begun with, ever.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// What it has done, ever: requests that it has answered, or, where the framework does not tell of those, connections that are
    /// done with.
    pub fn served(&self) -> u64 {
        self.served
    }
}

impl Policy {
    /// What it is called in the attribute and by `CLUSTER_POLICY`.
    fn name(self) -> &'static str {
        match self {
            Policy::RoundRobin => "round-robin",
            Policy::LeastConnections => "least-connections",
            Policy::Sticky => "sticky",
            Policy::Own(_) => "own",
            Policy::Shared => "shared",
            Policy::ReusePort => "reuseport",
        }
    }

    /// Whether what a busy worker has not read may go to any other: a client that was sent to one worker on purpose waits for it.
    pub(crate) fn moves(self) -> bool {
        !matches!(self, Policy::Sticky | Policy::Own(_))
    }
}

/// Its name, which for a function says more than where it is.
impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Two functions are taken for the same where they have the same address: the compiler may have merged two that do the same.
impl PartialEq for Policy {
    fn eq(&self, other: &Policy) -> bool {
        match (self, other) {
            (Policy::Own(one), Policy::Own(other)) => std::ptr::fn_addr_eq(*one, *other),
            (one, other) => one.name() == other.name(),
        }
    }
}
