//! What a connection costs, and what memory is taken, as there are more workers.

use std::io;

use crate::bench::Bench;
use crate::load::{self, Load, Pace};
use crate::server::Make;

/// How many, and the columns.
static COUNTS: [(usize, &str, &str); 4] = [
    (2, "2 cpu", "2 memory"),
    (8, "8 cpu", "8 memory"),
    (32, "32 cpu", "32 memory"),
    (128, "128 cpu", "128 memory"),
];
/// 128 of its processes take gigabytes, and most of a minute to start.
const MOST_OF_NODE: usize = 32;

pub(crate) fn run(bench: &mut Bench) -> io::Result<()> {
    let most = if bench.options.quick { 8 } else { 128 };
    for (workers, cpu, memory) in COUNTS.into_iter().filter(|(workers, _, _)| *workers <= most) {
        let servers = bench.servers(|server| match server.make {
            Make::Cluster => server.spawn != "exec",
            Make::Actix | Make::Nginx => true,
            Make::Node => workers <= MOST_OF_NODE,
            _ => false,
        });
        bench.rounds(&format!("{workers} workers"), &servers, workers, |bench, server, running| {
            let paths = ["/".to_owned()];
            let connections = bench.options.connections;
            let ask = |pace| {
                load::run(&Load {
                    address: running.address,
                    paths: &paths,
                    connections,
                    keep_alive: false,
                    pace,
                })
            };
            // Every worker has to have served before what is measured.
            ask(Pace::Closed(bench.options.time / 2))?;
            let before = running.processor();
            let outcome = ask(Pace::Closed(bench.options.time / 2))?;
            let took = (running.processor() - before).as_secs_f64() * 1e6;
            bench.record.add("workers", server.name, cpu, took / outcome.answered().max(1) as f64);
            bench.record.add("workers", server.name, memory, running.memory() as f64 / 1e6);
            Ok(())
        })?;
    }
    Ok(())
}
