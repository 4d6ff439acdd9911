//! What a request costs, how many there can be, and how long one takes: with a connection for each, and over kept connections.

use std::io;

use crate::bench::Bench;
use crate::load::{self, Load, Outcome, Pace};
use crate::running::Running;
use crate::schedule;
use crate::server::Server;

/// The requests a second while latencies are measured: the same for all, and few enough for the slowest.
const PER_SECOND: f64 = 1000.0;

/// So many before anything is measured.
const WARM: u64 = 5000;

pub(crate) fn connection(bench: &mut Bench) -> io::Result<()> {
    let servers = bench.servers(|_| true);
    let workers = bench.options.workers;
    bench.rounds("connection", &servers, workers, |bench, server, running| {
        measure(bench, server, running, "connection", false)
    })
}

pub(crate) fn keep_alive(bench: &mut Bench) -> io::Result<()> {
    let servers = bench.servers(|_| true);
    let workers = bench.options.workers;
    bench.rounds("keep-alive", &servers, workers, |bench, server, running| {
        measure(bench, server, running, "keep-alive", true)
    })
}

fn measure(
    bench: &mut Bench,
    server: &Server,
    running: &Running,
    scenario: &str,
    keep_alive: bool,
) -> io::Result<()> {
    let time = bench.options.time;
    let paths = ["/".to_owned()];
    let ask = |connections, pace| {
        load::run(&Load { address: running.address, paths: &paths, connections, keep_alive, pace })
    };
    let connections = bench.options.connections;
    // Pages, caches, and Node's compiler, which takes its time where others want the processors, too.
    let (mut warm, mut times) = (0, 0);
    while times == 0 || !bench.options.quick && warm < WARM && times < 20 {
        warm += ask(connections, Pace::Closed(time / 4))?.answered();
        times += 1;
    }

    let before = running.processor();
    let outcome = ask(connections, Pace::Closed(time))?;
    let cost = (running.processor() - before).as_secs_f64() * 1e6 / outcome.answered().max(1) as f64;
    let mut add = |column, value| bench.record.add(scenario, server.name, column, value);
    add("cpu", cost);
    add("throughput", outcome.answered() as f64 / outcome.took.as_secs_f64());

    let due = schedule::random(0, PER_SECOND, time, 1);
    // So many places that only a server that stalls for long could take them all.
    let spaced = ask(512, Pace::Due(&due))?;
    add("failed", (outcome.failed + spaced.failed) as f64);
    for (column, percent) in [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)] {
        if let Some(value) = latency(&spaced, 0, percent) {
            add(column, value);
        }
    }
    add("memory", running.memory() as f64 / 1e6);
    Ok(())
}

/// In milliseconds.
pub(crate) fn latency(outcome: &Outcome, kind: usize, percent: f64) -> Option<f64> {
    crate::stats::percentile(&outcome.latencies[kind], percent).map(|micros| f64::from(micros) / 1e3)
}
