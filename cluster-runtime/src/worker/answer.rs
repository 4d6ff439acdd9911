//! What the primary answers when it is asked for a socket or a lane.

use std::io;
use std::os::fd::OwnedFd;

use crate::ipc::message::{LaneId, ToPrimary, ToWorker};

/// The answer to a question. What it gives, and nobody takes, is given back: whoever asked may have gone meanwhile.
#[derive(Debug)]
pub(super) struct Answer(pub(super) Option<(ToWorker, Option<OwnedFd>)>);

impl Answer {
    pub(super) fn take(mut self) -> io::Result<(ToWorker, Option<OwnedFd>)> {
        self.0.take().ok_or_else(|| io::Error::other("the primary's answer was taken already"))
    }

    /// The lane that was opened, if it is that which was asked for, and its line on the board.
    pub(super) fn lane(&self) -> Option<(LaneId, Option<u8>)> {
        match &self.0 {
            Some((ToWorker::Lane { result: Ok(lane), line, .. }, _)) => Some((*lane, *line)),
            _ => None,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        match self.0.take() {
            // Nobody will ever read from that lane.
            Some((ToWorker::Lane { result: Ok(lane), .. }, _)) => {
                super::here().tell(&ToPrimary::Gone { lane });
            }
            Some((ToWorker::Bound { result: Ok(bound), .. }, _)) => {
                super::here().tell(&ToPrimary::Unbind { listener: bound.listener });
            }
            _ => {}
        }
    }
}
