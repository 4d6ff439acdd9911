//! What the primary answers when it is asked for a socket or a lane.

use std::io;
use std::os::fd::OwnedFd;

use crate::ipc::message::{LaneId, ListenerId, ToPrimary, ToWorker};

/// The answer to a question. What it gives, and nobody takes, is given back: whoever asked may have gone meanwhile.
#[derive(Debug)]
pub(super) struct Answer {
    answer: Option<(ToWorker, Option<OwnedFd>)>,
    /// What came before a lane: sockets to accept from.
    sockets: Vec<(ListenerId, OwnedFd)>,
}

impl Answer {
    pub(super) fn new(answer: ToWorker, fd: Option<OwnedFd>, sockets: Vec<(ListenerId, OwnedFd)>) -> Answer {
        Answer { answer: Some((answer, fd)), sockets }
    }

    pub(super) fn take_sockets(&mut self) -> Vec<(ListenerId, OwnedFd)> {
        std::mem::take(&mut self.sockets)
    }

    pub(super) fn take(mut self) -> io::Result<(ToWorker, Option<OwnedFd>)> {
        self.answer.take().ok_or_else(|| io::Error::other("the primary's answer was taken already"))
    }

    /// The lane that was opened, if it is that which was asked for, and its line on the board.
    pub(super) fn lane(&self) -> Option<(LaneId, Option<u8>)> {
        match &self.answer {
            Some((ToWorker::Lane { result: Ok(lane), line, .. }, _)) => Some((*lane, *line)),
            _ => None,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        match self.answer.take() {
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
