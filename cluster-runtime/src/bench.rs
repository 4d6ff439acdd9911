//! What is timed by itself: frames, a lane, the pick. For this project's own measurements, by the feature `internals`; no part
//! of what the crate promises.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::ipc::frame::{Decoder, Head, encode};
use crate::ipc::message::{Handoff, ListenerId};
use crate::primary::pick::RoundRobin;
use crate::sys::scm;

/// Frames through memory, with no socket between.
#[derive(Debug, Default)]
pub struct Frames {
    out: Vec<u8>,
    decoder: Decoder,
}

impl Frames {
    /// Makes so many frames of this body; yields how many bytes they are.
    pub fn encode(&mut self, count: usize, body: &[u8]) -> usize {
        self.out.clear();
        for _ in 0..count {
            encode(&mut self.out, Head::USER, false, body);
        }
        self.out.len()
    }

    /// Takes apart what was made last; yields how many frames there were.
    pub fn decode(&mut self) -> usize {
        self.decoder.fill(&self.out);
        let mut count = 0;
        while let Ok(Some(_)) = self.decoder.next() {
            count += 1;
        }
        count
    }
}

/// A lane with both of its ends in one process, and a descriptor to hand off.
#[derive(Debug)]
pub struct Lane {
    tx: OwnedFd,
    rx: OwnedFd,
    handed: OwnedFd,
}

impl Lane {
    /// # Errors
    ///
    /// The kernel makes no sockets.
    pub fn new() -> io::Result<Lane> {
        let (tx, rx) = scm::packet_pair()?;
        let (handed, _) = scm::stream_pair()?;
        Ok(Lane { tx, rx, handed })
    }

    /// What the primary does for a connection that it has picked a lane for.
    ///
    /// # Errors
    ///
    /// The lane is full.
    pub fn hand_off(&self) -> io::Result<()> {
        let packet = Handoff { listener: ListenerId(0), peer: None }.encode();
        scm::send(&self.tx, &packet, Some(self.handed.as_fd())).map(drop)
    }

    /// What a worker does for a connection that has come. Yields its descriptor.
    ///
    /// # Errors
    ///
    /// None has come.
    pub fn receive(&self) -> io::Result<Option<OwnedFd>> {
        let (mut packet, mut fds) = ([0; Handoff::SIZE], Vec::new());
        scm::receive(&self.rx, &mut packet, &mut fds)?;
        Ok(fds.pop())
    }
}

/// Round robin over workers of which all are ready.
#[derive(Debug)]
pub struct Turns {
    robin: RoundRobin<usize>,
    ready: Vec<usize>,
}

impl Turns {
    /// Of so many workers.
    pub fn of(workers: usize) -> Turns {
        Turns { robin: RoundRobin::default(), ready: (0..workers).collect() }
    }

    /// Who is next.
    pub fn pick(&mut self) -> Option<usize> {
        self.robin.pick(&self.ready, |_| false)
    }
}
