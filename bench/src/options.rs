//! What the command line asks for.

use std::time::Duration;

use lexopt::prelude::*;

use crate::scenarios;
use crate::server::{self, Server};

pub(crate) const HELP: &str = "\
Measures the cluster beside other servers, one after the other in each round, and prints the median of the rounds.

    cargo run --release -p cluster-bench -- [options]

    --servers a,b      which: cluster, cluster-exec, least-connections, sticky, shared, reuseport, actix, node, nginx, haproxy,
                       pm2, gunicorn. All that are installed, if left out
    --scenarios a,b    which: connection, keep-alive, idle, fair, workers, spread, messages, births, reload, preload. All,
                       if left out
    --rounds n         how often each is measured: 3
    --seconds n        how long each load lasts: 2
    --workers n        workers, or threads of a server without: 2
    --connections n    how many ask at a time: 16
    --quick            one round of a fifth of a second, and fewer of everything
    --write            docs/performance.md and its pictures, from this run. A run without other options should be written
    --no-build         the measured programs are built already
";

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) servers: Vec<&'static Server>,
    /// They were asked for by name: then it is an error where one fails.
    pub(crate) by_name: bool,
    /// All, if there are none.
    scenarios: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    pub(crate) workers: usize,
    pub(crate) connections: usize,
    pub(crate) quick: bool,
    pub(crate) write: bool,
    pub(crate) build: bool,
    pub(crate) help: bool,
}

impl Options {
    /// # Errors
    ///
    /// What was not understood.
    pub(crate) fn from(mut parser: lexopt::Parser) -> Result<Options, lexopt::Error> {
        let mut options = Options {
            servers: server::ALL.iter().collect(),
            by_name: false,
            scenarios: Vec::new(),
            rounds: 3,
            time: Duration::from_secs(2),
            workers: 2,
            connections: 16,
            quick: false,
            write: false,
            build: true,
            help: false,
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("servers") => {
                    options.by_name = true;
                    let names = parser.value()?.string()?;
                    let named = |name| server::named(name).ok_or_else(|| unknown("server", name));
                    options.servers = names.split(',').map(named).collect::<Result<_, _>>()?;
                }
                Long("scenarios") => {
                    let names = parser.value()?.string()?;
                    options.scenarios = names.split(',').map(str::to_owned).collect();
                    if let Some(name) = options.scenarios.iter().find(|name| !scenarios::is_one(name)) {
                        return Err(unknown("scenario", name));
                    }
                }
                Long("rounds") => options.rounds = parser.value()?.parse::<usize>()?.max(1),
                Long("seconds") => options.time = seconds(parser.value()?.parse()?)?,
                Long("workers") => options.workers = parser.value()?.parse::<usize>()?.max(1),
                Long("connections") => options.connections = parser.value()?.parse::<usize>()?.max(1),
                Long("quick") => {
                    options.quick = true;
                    options.rounds = 1;
                    options.time = Duration::from_millis(200);
                }
                Long("write") => options.write = true,
                Long("no-build") => options.build = false,
                Long("help") | Short('h') => options.help = true,
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, scenario: &str) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == scenario)
    }
}

fn seconds(number: f64) -> Result<Duration, lexopt::Error> {
    Duration::try_from_secs_f64(number).map_err(|error| format!("{number} seconds: {error}").into())
}

fn unknown(what: &str, name: &str) -> lexopt::Error {
    format!("{name:?} is no {what}; --help names all").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> Result<Options, lexopt::Error> {
        Options::from(lexopt::Parser::from_args(args))
    }

    #[test]
    fn what_is_left_out_is_everything() {
        let options = of(&[]).expect("nothing to misunderstand");
        assert_eq!((options.servers.len(), options.rounds), (server::ALL.len(), 3));
        assert!(options.wants("idle") && options.wants("fair"));
    }

    #[test]
    fn some_may_be_chosen() {
        let options = of(&["--servers", "actix,node", "--scenarios=idle", "--rounds=5"]).expect("right");
        assert_eq!(options.servers.iter().map(|server| server.name).collect::<Vec<_>>(), ["actix", "node"]);
        assert!(options.wants("idle") && !options.wants("fair") && options.rounds == 5);
    }

    #[test]
    fn a_wrong_name_is_said() {
        assert!(of(&["--servers", "apache"]).is_err_and(|error| error.to_string().contains("apache")));
        assert!(of(&["--scenarios", "x"]).is_err());
        assert!(of(&["--fast"]).is_err());
    }
}
