//! What waits on a channel, as one image of the primary leaves it for the next: written, read and taken in pieces as before.

use serde::{Deserialize, Serialize};

use super::{Intake, Outbox, Segment};
use crate::ipc::bytes::Bytes;
use crate::sys::passed::{Claims, Fd};

/// What waits to be written.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SavedOutbox {
    segments: Vec<SavedSegment>,
    written: u64,
    closed: bool,
}

#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
struct SavedSegment {
    rest: Bytes,
    fd: Option<Fd>,
}

/// What has been read and was not whole.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SavedIntake {
    rest: Bytes,
    /// Nothing in place of one that never arrived.
    fds: Vec<Option<Fd>>,
    greeted: bool,
}

impl Outbox {
    pub(crate) fn save(&self) -> SavedOutbox {
        let segments = self.segments.iter().map(|segment| SavedSegment {
            rest: Bytes(segment.bytes[segment.written..].to_vec()),
            fd: segment.fd.as_ref().map(Fd::of),
        });
        SavedOutbox { segments: segments.collect(), written: self.written, closed: self.closed }
    }
}

impl SavedOutbox {
    pub(crate) fn fds(&self) -> impl Iterator<Item = &Fd> {
        self.segments.iter().filter_map(|segment| segment.fd.as_ref())
    }

    pub(crate) fn adopt(self, claims: &Claims) -> Outbox {
        let SavedOutbox { segments, written, closed } = self;
        let waiting = segments.iter().map(|segment| segment.rest.0.len()).sum();
        let waiting_fds = segments.iter().filter(|segment| segment.fd.is_some()).count();
        let segments = segments.into_iter().map(|SavedSegment { rest, fd }| Segment {
            bytes: rest.0,
            written: 0,
            fd: fd.map(|fd| fd.take(claims)),
        });
        Outbox { segments: segments.collect(), waiting, waiting_fds, written, short: false, closed }
    }
}

impl Intake {
    pub(crate) fn save(&self) -> SavedIntake {
        let fds = self.fds.iter().map(|fd| fd.as_ref().map(Fd::of)).collect();
        SavedIntake { rest: Bytes(self.decoder.rest().to_vec()), fds, greeted: self.greeted }
    }
}

impl SavedIntake {
    pub(crate) fn fds(&self) -> impl Iterator<Item = &Fd> {
        self.fds.iter().flatten()
    }

    pub(crate) fn adopt(self, claims: &Claims) -> Intake {
        let SavedIntake { rest, fds, greeted } = self;
        let mut intake = Intake { greeted, ..Intake::default() };
        intake.decoder.fill(&rest.0);
        intake.fds = fds.into_iter().map(|fd| fd.map(|fd| fd.take(claims))).collect();
        intake
    }
}
