//! What is promised, each promise under every kind of client: what was done to a server, what the judge says of it, and
//! whether that is what was promised.

mod broken;
mod control;
mod kills;
mod orphans;
mod rolls;
mod site;

use std::fmt;

use cluster_judge::{Class, Verdict};

pub use broken::{Deploy, FALLEN, Make, RELOADS, Told, UNFIT, broken_deploys, broken_reloads};
pub use control::control;
pub use kills::{kills, kills_meanwhile};
pub use orphans::primary_killed;
pub use rolls::{reloads, scalings, upgrades, worn};

/// How one of them went.
#[derive(Clone, Debug)]
pub struct Claim {
    /// What was done.
    pub done: String,
    /// What the judge saw.
    pub verdict: Verdict,
    /// What came of each deploy, where there were some.
    pub told: Vec<Told>,
    /// Why it does not hold.
    pub faults: Vec<String>,
}

impl Claim {
    fn new(done: String, verdict: Verdict) -> Self {
        Self { done, verdict, told: Vec::new(), faults: Vec::new() }
    }

    /// Of nothing lost: every request of every client was answered, completely, rightly and once.
    fn clean(done: String, verdict: Verdict) -> Self {
        let mut faults = verdict.faults();
        // Who is idle for longer than the last call may cross with the close; all others are told before.
        let raced = verdict.raced_in_time();
        if raced > 0 {
            faults.push(format!("{raced} raced that were not late"));
        }
        Self { faults, ..Self::new(done, verdict) }
    }

    /// Adds a fault where this is not so.
    fn demand(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.faults.push(what.into());
        }
    }

    /// Whether it is as it was promised.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.faults.is_empty()
    }

    /// The head of a table of claims.
    #[must_use]
    pub fn head() -> String {
        let classes = Class::ALL.map(Class::name).join(" | ");
        let line = " ---: |".repeat(Class::ALL.len() + 2);
        format!("| what was done | requests | {classes} | longest gap, ms | promise |\n| --- |{line} --- |")
    }
}

/// A row of the table.
impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} | {} |", self.done, self.verdict.requests())?;
        for class in Class::ALL {
            write!(f, " {} |", self.verdict.count(class))?;
        }
        let end =
            if self.holds() { "holds".to_owned() } else { format!("**broken**: {}", self.faults.join("; ")) };
        write!(f, " {} | {end} |", self.verdict.gap().as_millis())
    }
}
