//! Whose signs of life are waited for, as one image of the primary leaves it for the next.
//!
//! Not since when: what was said during the exec is unread. But that something is to be heard, since a worker that has stopped
//! will say nothing that could make it known.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Heart, Hearts, Pulse};
use crate::ipc::message::LaneId;
use crate::primary::slot::Id;

/// One worker's.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct SavedHeart {
    pub(crate) worker: u64,
    /// After so long without a beat each has stopped.
    pub(crate) lanes: Vec<(LaneId, Duration)>,
    pub(crate) own: Option<Duration>,
}

impl Hearts {
    pub(crate) fn save(&self) -> Vec<SavedHeart> {
        let save = |(id, heart): (&Id, &Heart)| SavedHeart {
            worker: id.0,
            lanes: heart.lanes.iter().map(|(lane, pulse)| (*lane, pulse.within)).collect(),
            own: heart.own.map(|pulse| pulse.within),
        };
        self.hearts.iter().map(save).collect()
    }

    /// Everybody has all of the time again, and is trusted until then.
    ///
    /// # Errors
    /// In words, what is wrong with what was saved.
    pub(crate) fn restore(saved: &[SavedHeart], now: Instant) -> Result<Hearts, String> {
        let pulse = |within: Duration| match now.checked_add(within) {
            Some(_) => Ok(Pulse { last: now, within }),
            None => Err(format!("the state tells of a moment {within:?} from now")),
        };
        let restore = |saved: &SavedHeart| {
            let lanes = saved.lanes.iter().map(|(lane, within)| Ok((*lane, pulse(*within)?)));
            let own = saved.own.map(pulse).transpose()?;
            Ok((
                Id(saved.worker),
                Heart { lanes: lanes.collect::<Result<_, String>>()?, own, suspected: false },
            ))
        };
        let hearts = saved.iter().map(restore).collect::<Result<_, String>>()?;
        Ok(Hearts { hearts, attended: None, looked: None })
    }
}
