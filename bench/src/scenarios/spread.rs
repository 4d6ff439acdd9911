//! Who answers: how evenly a thousand connections are given out.

use std::io;

use crate::bench::Bench;
use crate::load::{self, Load, Pace};
use crate::schedule;
use crate::stats::unevenness;

const WORKERS: usize = 4;
/// Paced, so that nobody is in a hurry: what is looked at is the choice.
const PER_SECOND: f64 = 1000.0;

pub(crate) fn run(bench: &mut Bench) -> io::Result<()> {
    let servers = bench.servers(|server| server.can_be_slow() && server.spawn != "exec");
    let due = schedule::even(0, PER_SECOND, std::time::Duration::from_secs(1));
    bench.rounds("spread", &servers, WORKERS, |bench, server, running| {
        let paths = ["/who".to_owned()];
        let (address, pace) = (running.address, Pace::Due(&due));
        let outcome = load::run(&Load { address, paths: &paths, connections: 64, keep_alive: false, pace })?;
        // One that got nothing is not among the answers.
        let mut shares: Vec<u64> = outcome.bodies.values().copied().collect();
        let answered = shares.len();
        shares.resize(WORKERS.max(answered), 0);
        let mut add = |column, value| bench.record.add("spread", server.name, column, value);
        add("workers", answered as f64);
        add("least", shares.iter().min().copied().unwrap_or(0) as f64);
        add("most", shares.iter().max().copied().unwrap_or(0) as f64);
        unevenness(&shares).into_iter().for_each(|value| add("unevenness", value));
        Ok(())
    })
}
