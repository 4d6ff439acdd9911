//! Fast requests among slow ones: how long the fast ones take.
//!
//! Four workers of one thread each. Ten times a second, at random, somebody asks for what blocks a thread for 50 ms: one time in
//! eight a given worker can do nothing else, and hardly ever (2 in 1000) all of them at once. Whoever is given to a blocked worker
//! waits for tens of milliseconds, although three others have nothing to do; a server that knows where connections are open
//! avoids that. Beside it the same with slow requests that await, which hold up nobody: there all should be alike.

use std::io;
use std::time::Duration;

use crate::bench::Bench;
use crate::load::{self, Load, Pace};
use crate::scenarios::requests::latency;
use crate::schedule;

const WORKERS: usize = 4;
const FAST: f64 = 200.0;
const SLOW: f64 = 10.0;
/// In milliseconds.
const TAKES: u32 = 50;

pub(crate) fn run(bench: &mut Bench) -> io::Result<()> {
    let servers = bench.servers(|server| server.can_be_slow() && server.spawn != "exec");
    bench.rounds("fair", &servers, WORKERS, |bench, server, running| {
        // There are few requests a second.
        let time = 3 * bench.options.time;
        let fast = ["/".to_owned()];
        let pace = Pace::Closed(Duration::from_millis(200));
        load::run(&Load { address: running.address, paths: &fast, connections: 4, keep_alive: false, pace })?;
        let due = schedule::both(schedule::random(0, FAST, time, 1), schedule::random(1, SLOW, time, 2));
        let all = [
            ("block", ["block p50", "block p99", "block p99.9"]),
            ("wait", ["wait p50", "wait p99", "wait p99.9"]),
        ];
        let mut failed = 0;
        for (slow, columns) in all {
            let paths = ["/".to_owned(), format!("/{slow}/{TAKES}")];
            let (address, pace) = (running.address, Pace::Due(&due));
            let load = Load { address, paths: &paths, connections: 512, keep_alive: false, pace };
            let outcome = load::run(&load)?;
            failed += outcome.failed;
            for (column, percent) in columns.into_iter().zip([50.0, 99.0, 99.9]) {
                if let Some(value) = latency(&outcome, 0, percent) {
                    bench.record.add("fair", server.name, column, value);
                }
            }
        }
        bench.record.add("fair", server.name, "failed", failed as f64);
        Ok(())
    })
}
