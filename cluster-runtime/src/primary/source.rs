//! What wakes the loop.

use super::lines::Stream;
use super::slot::Id;
use crate::ipc::message::{LaneId, ListenerId};

/// What the epoll set calls its sources.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Source {
    Signals,
    Listener(ListenerId),
    Lane(LaneId),
    Channel(Id),
    Child(Id),
    /// Each of a generation.
    NurseryChild(u64),
    NurseryAnswer(u64),
    /// What a worker prints.
    Output(Id, Stream),
    /// Where the primary does, by its index.
    Outlet(usize),
    /// The program that is asked whether it can take over.
    Check,
}

impl Source {
    const SHIFT: u32 = 56;

    pub(super) fn name(self) -> u64 {
        let (kind, id) = match self {
            Source::Signals => (0, 0),
            Source::Listener(id) => (1, u64::from(id.0)),
            Source::Lane(id) => (2, id.0),
            Source::Channel(id) => (3, id.0),
            Source::Child(id) => (4, id.0),
            Source::NurseryChild(generation) => (5, generation),
            Source::NurseryAnswer(generation) => (6, generation),
            Source::Output(id, Stream::Stdout) => (7, id.0),
            Source::Output(id, Stream::Stderr) => (8, id.0),
            Source::Outlet(index) => (9, index as u64),
            Source::Check => (10, 0),
        };
        kind << Source::SHIFT | id
    }

    pub(super) fn of(name: u64) -> Source {
        let id = name & ((1 << Source::SHIFT) - 1);
        match name >> Source::SHIFT {
            1 => Source::Listener(ListenerId(id as u32)),
            2 => Source::Lane(LaneId(id)),
            3 => Source::Channel(Id(id)),
            4 => Source::Child(Id(id)),
            5 => Source::NurseryChild(id),
            6 => Source::NurseryAnswer(id),
            7 => Source::Output(Id(id), Stream::Stdout),
            8 => Source::Output(Id(id), Stream::Stderr),
            9 => Source::Outlet(id as usize),
            10 => Source::Check,
            _ => Source::Signals,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_survives_its_name() {
        for source in [
            Source::Signals,
            Source::Listener(ListenerId(7)),
            Source::Lane(LaneId(1 << 40)),
            Source::Channel(Id(3)),
            Source::Child(Id(u64::MAX >> 8)),
            Source::NurseryChild(1),
            Source::NurseryAnswer(2),
            Source::Output(Id(9), Stream::Stdout),
            Source::Output(Id(9), Stream::Stderr),
            Source::Outlet(1),
            Source::Check,
        ] {
            assert_eq!(Source::of(source.name()), source);
        }
    }
}
