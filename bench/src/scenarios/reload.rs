//! How long a reload takes: new workers beside the old ones, until the last old one has gone.

use std::io;
use std::time::Duration;

use rustix::process::Signal;

use crate::bench::Bench;
use crate::server::Make;

const WITHIN: Duration = Duration::from_secs(30);

pub(crate) fn run(bench: &mut Bench) -> io::Result<()> {
    let servers = bench.servers(|server| server.make == Make::Cluster && server.policy == "round-robin");
    for (workers, column) in [(2, "2"), (8, "8")] {
        bench.rounds(&format!("reload of {workers}"), &servers, workers, |bench, server, running| {
            for _ in 0..if bench.options.quick { 1 } else { 3 } {
                let start = cluster_bench::clock();
                running.signal(Signal::HUP)?;
                if let [at, _] = running.says("reloaded ", WITHIN)?[..] {
                    bench.record.add("reload", server.name, column, at.saturating_sub(start) as f64 / 1e6);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}
