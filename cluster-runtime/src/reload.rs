//! How a reload ended.

use std::fmt;
use std::time::Duration;

use crate::event::Exit;

/// How a reload ended: what [`on_reload`](crate::Primary::on_reload) is told. Node has no word for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reload {
    pub(crate) generation: u64,
    pub(crate) took: Duration,
    pub(crate) failure: Option<ReloadFailure>,
}

/// Why a reload came to nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ReloadFailure {
    /// A new worker ended before it was ready, or of itself before it had served anybody.
    Worker {
        /// Which.
        id: u64,
        /// How it ended, and what it [said](Exit::said) last.
        exit: Exit,
    },
    /// [`preload`](crate::Cluster::preload) failed: what became of the process that ran it, and what it said.
    Preload(String),
    /// The cluster stopped before it was done.
    Stopped,
}

impl Reload {
    /// The generation that it made, or tried to make. A number is not used twice: the next reload has one more.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How long it took, from its begin until the last new worker was ready, or until it failed. The old workers may
    /// take longer to finish.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Whether every worker is of the new generation.
    ///
    /// # Errors
    /// Why not. Then nobody else is replaced, and who dies later is replaced from the old generation.
    pub fn result(&self) -> Result<(), &ReloadFailure> {
        self.failure.as_ref().map_or(Ok(()), Err)
    }
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reload { generation, took, failure } = self;
        match failure {
            None => write!(f, "generation {generation} serves, after {took:.1?}"),
            Some(failure) => write!(f, "generation {generation} failed after {took:.1?}: {failure}"),
        }
    }
}

impl fmt::Display for ReloadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadFailure::Worker { id, exit } => write!(f, "worker {id} {exit}"),
            ReloadFailure::Preload(why) => write!(f, "preload failed: the nursery {why}"),
            ReloadFailure::Stopped => f.write_str("the cluster stops"),
        }
    }
}

impl std::error::Error for ReloadFailure {}
