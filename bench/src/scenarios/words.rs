//! Words between a worker and the primary: how many a second, and how long a question takes.

use std::io;
use std::process::Command;
use std::time::Duration;

use crate::bench::Bench;
use crate::running::Running;
use crate::server::find;

const WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn run(bench: &mut Bench) -> io::Result<()> {
    let rows: &[&str] = if find("node").is_some() { &["cluster", "node"] } else { &["cluster"] };
    let few = if bench.options.quick { 20 } else { 1 };
    bench.turns("messages", rows, |bench, row| {
        let mut command = if row == "cluster" {
            Command::new(bench.places.program("bench_words"))
        } else {
            let mut node = Command::new("node");
            node.arg(bench.places.package.join("servers/words.cjs"));
            node
        };
        let messages = if row == "cluster" { 1_000_000 } else { 200_000 };
        command.env("MESSAGES", (messages / few).to_string()).env("QUESTIONS", (20_000 / few).to_string());
        let running = Running::spawn(command, &bench.places, 0)?;
        let mut add = |column, value| bench.record.add("messages", row, column, value);
        if let [heard, nanos] = running.says("sent ", WITHIN)?[..] {
            add("a second", heard as f64 * 1e9 / nanos as f64);
        }
        if let [median, late] = running.says("asked ", WITHIN)?[..] {
            add("p50", median as f64 / 1e3);
            add("p99", late as f64 / 1e3);
        }
        Ok(())
    })
}
