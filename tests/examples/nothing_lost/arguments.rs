//! What the command line says.

use std::time::Duration;

use lexopt::prelude::*;

pub(crate) const HELP: &str = "\
cargo run --release -p cluster-tests --example nothing_lost -- [options]

Does to real servers what this project promises that nobody notices, and prints what an independent judge saw.

  --reloads N     how many reloads, one after the other (50);
                  and half as often a worker more and one less
  --upgrades N    how many upgrades in place, to another program and back (20)
  --kills N       how many workers are killed, ten a second (100)
  --seconds N     how long each of these lasts at least, 0 for the shortest (10)
  --only NAME     only this promise; may be given more than once: reloads, upgrades, scaling,
                  wear, unfit, fallen, configurations, kills, storm, primary, control
  --verbose       the judge's whole table for each

Ends with 0 if every promise holds, 1 if not, 2 if it could not try.
";

pub(crate) struct Arguments {
    pub(crate) reloads: u64,
    pub(crate) upgrades: u64,
    pub(crate) kills: u64,
    pub(crate) time: Duration,
    pub(crate) is_verbose: bool,
    only: Vec<String>,
}

impl Arguments {
    /// `None` where somebody wants help.
    pub(crate) fn read(names: &[&str]) -> Result<Option<Self>, lexopt::Error> {
        let mut read = Self {
            reloads: 50,
            upgrades: 20,
            kills: 100,
            time: Duration::from_secs(10),
            is_verbose: false,
            only: Vec::new(),
        };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("reloads") => read.reloads = arguments.value()?.parse()?,
                Long("upgrades") => read.upgrades = arguments.value()?.parse()?,
                Long("kills") => read.kills = arguments.value()?.parse()?,
                Long("seconds") => read.time = Duration::from_secs(arguments.value()?.parse()?),
                Long("only") => read.only.push(arguments.value()?.string()?),
                Long("verbose") => read.is_verbose = true,
                Short('h') | Long("help") => return Ok(None),
                _ => return Err(argument.unexpected()),
            }
        }
        match read.only.iter().find(|name| !names.contains(&name.as_str())) {
            Some(name) => Err(format!("there is no promise {name:?}, but {}", names.join(", ")).into()),
            None => Ok(Some(read)),
        }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}
