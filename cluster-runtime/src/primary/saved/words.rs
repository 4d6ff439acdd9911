//! Ends and failures as they are saved. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{self, ExitStatus, Reason, Signal};
use crate::upgrade::UpgradeFailure;

/// How a worker ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Exit {
    status: Status,
    /// In words, since another version may know others.
    reason: String,
    asked: bool,
    lived: Duration,
    /// Since version 2, and what follows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    said: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    told: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
enum Status {
    Code(i32),
    Signal(i32),
    Unknown,
}

/// Why an image goes back to the one before it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) enum Failure {
    Worker { id: u64, exit: Exit },
    Preload(String),
    Image(String),
}

/// Whoever adds a reason is asked for its word here.
fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Asked => "asked",
        Reason::Replaced => "replaced",
        Reason::Finished => "finished",
        Reason::Failed => "failed",
        Reason::NotStarted => "not started",
        Reason::Killed => "killed",
        Reason::TimedOut => "timed out",
        Reason::Stalled => "stalled",
    }
}

fn reason(word: &str) -> Reason {
    match word {
        "asked" => Reason::Asked,
        "replaced" => Reason::Replaced,
        "finished" => Reason::Finished,
        "not started" => Reason::NotStarted,
        "killed" => Reason::Killed,
        "timed out" => Reason::TimedOut,
        "stalled" => Reason::Stalled,
        _ => Reason::Failed,
    }
}

impl From<&event::Exit> for Exit {
    fn from(exit: &event::Exit) -> Exit {
        let status = match exit.status {
            ExitStatus::Code(code) => Status::Code(code),
            ExitStatus::Signal(signal) => Status::Signal(signal.as_raw()),
            ExitStatus::Unknown => Status::Unknown,
        };
        Exit {
            status,
            reason: word(exit.reason).to_owned(),
            asked: exit.asked,
            told: exit.told,
            lived: exit.lived,
            said: exit.said.clone(),
        }
    }
}

impl From<&Exit> for event::Exit {
    fn from(exit: &Exit) -> event::Exit {
        let status = match exit.status {
            Status::Code(code) => ExitStatus::Code(code),
            Status::Signal(signal) => {
                Signal::from_raw(signal).map_or(ExitStatus::Unknown, ExitStatus::Signal)
            }
            Status::Unknown => ExitStatus::Unknown,
        };
        event::Exit {
            status,
            reason: reason(&exit.reason),
            asked: exit.asked,
            told: exit.told,
            lived: exit.lived,
            said: exit.said.clone(),
        }
    }
}

impl From<&UpgradeFailure> for Failure {
    fn from(failure: &UpgradeFailure) -> Failure {
        match failure {
            UpgradeFailure::Worker { id, exit } => Failure::Worker { id: *id, exit: exit.into() },
            UpgradeFailure::Preload(why) => Failure::Preload(why.clone()),
            UpgradeFailure::Image(why) => Failure::Image(why.clone()),
            // Nobody goes back for these.
            other => Failure::Image(other.to_string()),
        }
    }
}

impl From<&Failure> for UpgradeFailure {
    fn from(failure: &Failure) -> UpgradeFailure {
        match failure {
            Failure::Worker { id, exit } => UpgradeFailure::Worker { id: *id, exit: exit.into() },
            Failure::Preload(why) => UpgradeFailure::Preload(why.clone()),
            Failure::Image(why) => UpgradeFailure::Image(why.clone()),
        }
    }
}
