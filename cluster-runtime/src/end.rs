//! How a cluster ended, in words and as a status.

use crate::primary::step::Failure;
use crate::primary::{Ending, Hint};

/// How the cluster ended.
#[derive(Debug)]
#[must_use = "the program's status is in it: end.exit()"]
pub struct End {
    pub(crate) code: i32,
    pub(crate) error: Option<String>,
}

impl End {
    /// Ends the program with the cluster's status: 0 after a stop that was asked for; that of the worker that
    /// could not boot, or died last; 128 and the signal's number after a stop at once; else 1.
    pub fn exit(self) -> ! {
        std::process::exit(self.code)
    }

    /// That status.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// What went wrong, if something did. It has been reported already.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub(crate) fn of(ending: Ending) -> End {
        let failed = |code, error: String| End { code, error: Some(error) };
        match ending {
            Ending::Asked => End { code: 0, error: None },
            Ending::Preload(why) => failed(why.status, format!("preload failed: the nursery {}", why.told)),
            Ending::Failed(Failure::Stopped { signal }, _) => {
                failed(128 + signal.as_raw(), format!("stopped at once by {signal}"))
            }
            Ending::Failed(Failure::NotStarted { id, exit }, hint) => {
                let hint = match hint {
                    Hint::None => "",
                    Hint::NobodyBound => {
                        ". No worker has asked the cluster for a socket: one that binds by itself meets \"address in \
                         use\" where another has; import cluster::actix::HttpServer, or cluster::net \
                         for other servers"
                    }
                };
                // A worker that returned without a word is not well either, unless that was its job.
                let code = exit.program_status().max(1);
                failed(
                    code,
                    format!("worker {} {exit}, and none of the others was: the cluster ends{hint}", id.0),
                )
            }
            Ending::Failed(Failure::GaveUp { deaths, exit }, _) => failed(
                1,
                format!(
                    "gave up: {deaths} workers died before they had served (max_restarts); the last one {exit}"
                ),
            ),
            Ending::Failed(Failure::NobodyLeft { exit }, _) => {
                failed(exit.program_status(), format!("no worker is left, and the last that failed {exit}"))
            }
        }
    }
}
