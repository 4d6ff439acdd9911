//! A table of 500 MB that is built before the workers: all the memory that is taken, with however many of them, all of
//! which have read all of it.

use std::io;
use std::process::Command;
use std::time::Duration;

use crate::bench::Bench;
use crate::load::{self, Load, Pace};
use crate::running::{Running, free_port};

pub(crate) fn run(bench: &mut Bench) -> io::Result<()> {
    let megabytes = if bench.options.quick { 20 } else { 500 };
    bench.turns(
        "preload",
        &["1 worker", "2 workers", "8 workers", "one process, no cluster"],
        |bench, row| {
            // A cluster of none is the body in the process that was started.
            let workers = row.split_once(' ').and_then(|(count, _)| count.parse().ok()).unwrap_or(0);
            let port = free_port()?;
            let mut command = Command::new(bench.places.program("bench_table"));
            command.env("PORT", port.to_string()).env("MEGABYTES", megabytes.to_string());
            command.env("CLUSTER_WORKERS", workers.to_string());
            let mut running = Running::spawn(command, &bench.places, port)?;
            running.settle()?;
            let paths = ["/sum".to_owned()];
            let pace = Pace::Closed(Duration::from_millis(if bench.options.quick { 100 } else { 2_000 }));
            load::run(&Load {
                address: running.address,
                paths: &paths,
                connections: 2,
                keep_alive: false,
                pace,
            })?;
            bench.record.add("preload", row, "memory", running.memory() as f64 / 1e6);
            Ok(())
        },
    )
}
