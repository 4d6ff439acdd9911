//! One level-triggered wait over descriptors.
//!
//! Level-triggered, so that a loop may stop half way through a burst and be told again; but for the ends of processes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

/// An epoll set whose sources are named by a number of the caller's.
pub(crate) struct Epoll {
    set: OwnedFd,
    events: Vec<epoll::Event>,
}

/// What a source is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Interest {
    /// Kept in the set, woken by nothing but errors.
    Nothing,
    Read,
    Write,
    ReadWrite,
    /// Whether a process has ended, and once more when its tracer, who hears of that first, lets go of it: told for as long as he
    /// keeps it, it would be told all the time.
    End,
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        match self {
            Interest::Nothing => epoll::EventFlags::empty(),
            Interest::Read => epoll::EventFlags::IN,
            Interest::Write => epoll::EventFlags::OUT,
            Interest::ReadWrite => epoll::EventFlags::IN | epoll::EventFlags::OUT,
            Interest::End => epoll::EventFlags::IN | epoll::EventFlags::ET,
        }
    }
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        Ok(Epoll { set: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(256) })
    }

    pub(crate) fn add(&self, source: impl AsFd, name: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.set, source, epoll::EventData::new_u64(name), interest.flags())?)
    }

    pub(crate) fn change(&self, source: impl AsFd, name: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.set, source, epoll::EventData::new_u64(name), interest.flags())?)
    }

    /// Takes a source out. Closing it is not enough where another process, or a dup of ours, holds the same
    /// open file: the set would go on reporting it.
    pub(crate) fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.set, source)?)
    }

    /// Waits until something is ready or `timeout` is over, and leaves the names of what is in `names`, alone.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, names: &mut Vec<u64>) -> io::Result<()> {
        let timeout = timeout.map(|t| rustix::event::Timespec {
            tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(t.subsec_nanos()),
        });
        self.events.clear();
        names.clear();
        match epoll::wait(&self.set, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        names.extend(self.events.iter().map(|event| event.data.u64()));
        Ok(())
    }
}
