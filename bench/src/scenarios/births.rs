//! From a birth, and from a death, until the replacement listens.

use std::io;
use std::time::Duration;

use rustix::process::Signal;

use crate::bench::Bench;
use crate::load::{self, Load, Pace};
use crate::running::{Running, kill};
use crate::server::Make;
use crate::stats::{median, percentile};

const WITHIN: Duration = Duration::from_secs(20);
const WORKERS: usize = 3;

pub(crate) fn run(bench: &mut Bench) -> io::Result<()> {
    let servers = bench.servers(|server| {
        matches!(server.make, Make::Cluster | Make::Node) && matches!(server.policy, "round-robin" | "")
    });
    let kills = if bench.options.quick { 3 } else { 20 };
    bench.rounds("births", &servers, WORKERS, |bench, server, running| {
        let (mut forks, mut deaths) = (Vec::new(), Vec::new());
        let mut alive = Vec::new();
        for _ in 0..WORKERS {
            alive.push(listening(running)?.pid);
        }
        for _ in 0..kills {
            // One that never served is thought to fail at its start, and is not replaced at once.
            let paths = ["/".to_owned()];
            let pace = Pace::Closed(Duration::from_millis(20));
            load::run(&Load {
                address: running.address,
                paths: &paths,
                connections: 6,
                keep_alive: false,
                pace,
            })?;
            let killed = cluster_bench::clock();
            kill(alive.remove(0), Signal::KILL)?;
            let next = listening(running)?;
            alive.push(next.pid);
            deaths.push(next.at.saturating_sub(killed) as f64 / 1e6);
            forks.push(next.since_fork as f64 / 1e6);
        }
        let mut add = |column, value: Option<f64>| {
            value.into_iter().for_each(|value| bench.record.add("births", server.name, column, value));
        };
        add("fork", median(&forks));
        add("kill", median(&deaths));
        deaths.sort_by(f64::total_cmp);
        add("longest", percentile(&deaths, 100.0));
        Ok(())
    })
}

/// A worker, as the primary saw it. Times are the monotonic clock's, in nanoseconds.
struct Listening {
    pid: i32,
    at: u64,
    since_fork: u64,
}

fn listening(running: &Running) -> io::Result<Listening> {
    match running.says("listening ", WITHIN)?[..] {
        [_, pid, at, since_fork] => Ok(Listening { pid: pid as i32, at, since_fork }),
        _ => Err(io::Error::other("a line of another form")),
    }
}
