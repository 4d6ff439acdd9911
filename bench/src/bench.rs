//! What all scenarios have: the rounds, in which the servers take turns, and where the values go.

use std::collections::BTreeSet;
use std::io;

use crate::options::Options;
use crate::places::Places;
use crate::progress::Progress;
use crate::record::Record;
use crate::running::Running;
use crate::server::Server;

#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) places: Places,
    pub(crate) record: Record,
    progress: Progress,
    /// Those that did not start, or not serve: they are not tried again.
    pub(crate) failed: BTreeSet<&'static str>,
}

impl Bench {
    pub(crate) fn new(options: Options, places: Places) -> Bench {
        let record = Record::default();
        Bench { options, places, record, progress: Progress::new(), failed: BTreeSet::new() }
    }

    /// Leaves out what is not there, and says how to get it.
    pub(crate) fn look(&mut self) {
        let mut there = Vec::new();
        for server in std::mem::take(&mut self.options.servers) {
            if let Some(remedy) = server.missing() {
                self.record
                    .note(format!("{} is left out, since it is not installed: {remedy}", server.title));
            } else {
                there.push(server);
            }
        }
        self.options.servers = there;
    }

    /// Those that were asked for, are there, and are fit for a scenario.
    pub(crate) fn servers(&self, fit: impl Fn(&Server) -> bool) -> Vec<&'static Server> {
        self.options.servers.iter().copied().filter(|server| fit(server)).collect()
    }

    /// Each server once in each round, begun by another one in each, so that what else goes on on this machine meets all of
    /// them alike.
    pub(crate) fn rounds(
        &mut self,
        scenario: &str,
        servers: &[&'static Server],
        workers: usize,
        mut measure: impl FnMut(&mut Bench, &'static Server, &Running) -> io::Result<()>,
    ) -> io::Result<()> {
        self.turns(scenario, servers, |bench, server| {
            if bench.failed.contains(server.name) {
                return Ok(());
            }
            match Running::start(server, &bench.places, workers) {
                Ok(running) => {
                    if let Err(error) = measure(bench, server, &running) {
                        bench.failed.insert(server.name);
                        bench.record.note(format!("{}, {scenario}: {error}", server.title));
                    }
                }
                Err(error) => {
                    bench.failed.insert(server.name);
                    bench.record.note(format!("left out: {error}"));
                }
            }
            Ok(())
        })
    }

    /// The same for whatever takes turns.
    pub(crate) fn turns<T: Copy + Named>(
        &mut self,
        scenario: &str,
        all: &[T],
        mut measure: impl FnMut(&mut Bench, T) -> io::Result<()>,
    ) -> io::Result<()> {
        let rounds = self.options.rounds;
        self.progress.begin(scenario, rounds * all.len());
        for round in 0..rounds {
            for turn in 0..all.len() {
                let one = all[(round + turn) % all.len()];
                self.progress.step(one.shown());
                measure(self, one)?;
            }
        }
        self.progress.clear();
        Ok(())
    }
}

/// What a person is shown while it takes its turn.
pub(crate) trait Named {
    fn shown(&self) -> &str;
}

impl Named for &Server {
    fn shown(&self) -> &str {
        self.title
    }
}

impl Named for &str {
    fn shown(&self) -> &str {
        self
    }
}
