//! A worker's health: what is heard of it, and what is done about one that is silent.

use std::time::{Duration, Instant};

use super::heart::{Finding, Sign};
use super::slot::Id;
use super::step::Input;
use super::{Loop, Turn, desk, hub, rows, threads};
use crate::ipc::message::LaneId;
use crate::report;

/// How often a silent worker's channel is read before it is judged: more than the kernel holds of what it has said.
const MOST_READS: usize = 64;

impl Loop {
    /// The first sign of life is that it has asked for the lane.
    pub(super) fn opened_lane(&mut self, id: Id, lane: LaneId) -> Turn {
        self.step(Input::Sign(id, Sign::Beat { lane: Some(lane), every: Duration::ZERO }))
    }

    pub(super) fn beat(&mut self, id: Id, lane: Option<LaneId>, every_ms: u64) -> Turn {
        // Of its own lanes only: so there are no more pulses than lanes, whatever it says.
        if lane.is_some_and(|lane| !self.lanes.is_read(id, lane)) {
            return Ok(());
        }
        self.step(Input::Sign(id, Sign::Beat { lane, every: Duration::from_millis(every_ms) }))
    }

    pub(super) fn unlisten(&mut self, id: Id, lane: LaneId) -> Turn {
        self.lanes.end(id, lane);
        rows::end_lane(id, lane);
        self.step(Input::Sign(id, Sign::Over { lane: Some(lane) }))
    }

    pub(super) fn gone(&mut self, id: Id, lane: LaneId) -> Turn {
        self.lanes.gone(id, lane);
        rows::end_lane(id, lane);
        self.step(Input::Sign(id, Sign::Over { lane: Some(lane) }))
    }

    /// Takes note of the turn, looks at the board where it is time, and reads what those have said meanwhile who would be judged now: a callback that took
    /// long, or a flood of another's, may have kept their word waiting.
    pub(super) fn hear_the_silent(&mut self, now: Instant) -> Turn {
        self.fleet.attend(now);
        let mut silent = self.fleet.silent();
        if self.fleet.is_to_look(&silent, now) {
            let effects = self.fleet.look(rows::beats(), now);
            self.perform(effects)?;
            silent = self.fleet.silent();
        }
        for id in silent {
            let mut left = MOST_READS;
            while left > 0 && hub::has_unread(id) {
                left -= 1;
                self.listen_to(id)?;
            }
            self.obey()?;
        }
        Ok(())
    }

    pub(super) fn found(&mut self, id: Id, finding: Finding) {
        let worker = desk::worker(id);
        let who = format!("worker {} (slot {}, pid {})", id.0, worker.slot(), worker.pid());
        match finding {
            Finding::Suspected { silent } => {
                report::warn(format_args!(
                    "{who} gave no sign of life for {silent:.1?}: it is given nothing more, and what it has not read goes \
                     to others"
                ));
                self.lanes.suspect(id, true);
            }
            Finding::Trusted => {
                report::info(format_args!("{who} gives signs of life again"));
                self.lanes.suspect(id, false);
            }
            Finding::Stalled { silent, grace } => {
                report::error(format_args!(
                    "{who} gave no sign of life for {silent:.1?}: it is told to leave, and killed if it has not in {grace:?} \
                     (heartbeat_timeout)"
                ));
                threads::tell(worker.pid());
            }
        }
    }
}
