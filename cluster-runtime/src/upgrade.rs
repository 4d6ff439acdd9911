//! How an upgrade in place ended.

use std::fmt;
use std::time::Duration;

use crate::event::Exit;
use crate::reload::ReloadFailure;

/// How an upgrade in place ended: what [`on_upgrade`](crate::Primary::on_upgrade) is told, in whichever program goes on.
/// Node has no word for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upgrade {
    pub(crate) generation: u64,
    pub(crate) took: Duration,
    pub(crate) failure: Option<UpgradeFailure>,
}

/// Why an upgrade came to nothing. The program that ran before it runs on, with its workers; but for
/// [`Stopped`](UpgradeFailure::Stopped), with which all of it ends.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum UpgradeFailure {
    /// It was refused: another one is under way, or no worker was ever ready.
    Busy(String),
    /// The program on disk is not fit to take over: it is missing, can't be executed, did not answer within
    /// [`startup_timeout`](crate::Cluster::startup_timeout), speaks another version, or refuses its settings.
    Check(String),
    /// The kernel refused to execute it.
    Exec(String),
    /// A worker of the new program ended before it was ready, or of itself before it had served anybody.
    Worker {
        /// Which.
        id: u64,
        /// How it ended.
        exit: Exit,
    },
    /// [`preload`](crate::Cluster::preload) of the new program failed: what became of the process that ran it, and what
    /// it said.
    Preload(String),
    /// The new program was executed, and could not take over what the one before had handed it.
    Image(String),
    /// The cluster stopped before it was done.
    Stopped,
}

impl Upgrade {
    /// The generation that it made, or would have made. A number is not used twice: the next upgrade or reload has a
    /// higher one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How long it took, from the wish until no worker of the program before was left, or until it was known that it
    /// had failed. It goes on while one program takes over from another.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Whether the new program runs, the primary and every worker, and nobody of the one before.
    ///
    /// # Errors
    /// Why not. Then the program before it runs on; a worker that the new one had started is replaced.
    pub fn result(&self) -> Result<(), &UpgradeFailure> {
        self.failure.as_ref().map_or(Ok(()), Err)
    }
}

impl fmt::Display for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Upgrade { generation, took, failure } = self;
        match failure {
            None => write!(f, "generation {generation} is of the new program and serves, after {took:.1?}"),
            Some(failure) => write!(f, "generation {generation} failed after {took:.1?}: {failure}"),
        }
    }
}

impl fmt::Display for UpgradeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpgradeFailure::Busy(why) => write!(f, "not now: {why}"),
            UpgradeFailure::Check(why) => write!(f, "the program on disk can't take over: {why}"),
            UpgradeFailure::Exec(why) => write!(f, "executing the program on disk: {why}"),
            UpgradeFailure::Worker { id, exit } => write!(f, "the new program's worker {id} {exit}"),
            UpgradeFailure::Preload(why) => write!(f, "the new program's preload failed: the nursery {why}"),
            UpgradeFailure::Image(why) => write!(f, "the new program did not take over: {why}"),
            UpgradeFailure::Stopped => f.write_str("the cluster stops"),
        }
    }
}

impl std::error::Error for UpgradeFailure {}

impl From<ReloadFailure> for UpgradeFailure {
    /// The new program's workers come as those of a reload do, and fail as those.
    fn from(failure: ReloadFailure) -> UpgradeFailure {
        match failure {
            ReloadFailure::Worker { id, exit } => UpgradeFailure::Worker { id, exit },
            ReloadFailure::Preload(why) => UpgradeFailure::Preload(why),
            ReloadFailure::Stopped => UpgradeFailure::Stopped,
        }
    }
}
