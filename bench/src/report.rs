//! What was measured, as Markdown.

use std::fmt::Write;

use crate::bench::Bench;
use crate::record::Record;
use crate::{goals, machine, server};

/// One table: a scenario, and what of it is shown.
struct Table {
    scenario: &'static str,
    title: &'static str,
    /// What one has to know to read it.
    text: &'static str,
    /// What stands above the rows' names.
    of: &'static str,
    /// Key, heading, digits after the point.
    columns: &'static [(&'static str, &'static str, usize)],
}

const REQUESTS: &[(&str, &str, usize)] = &[
    ("cpu", "CPU µs a request", 1),
    ("throughput", "requests a second", 0),
    ("p50", "p50 ms", 2),
    ("p90", "p90 ms", 2),
    ("p99", "p99 ms", 2),
    ("p99.9", "p99.9 ms", 2),
    ("memory", "memory MB", 1),
    ("failed", "failed", 0),
];

static TABLES: &[Table] = &[
    Table {
        scenario: "connection",
        title: "One connection for each request",
        text: "CPU and requests a second: as many as it answers. Latencies: of 1000 a second at random times.",
        of: "server",
        columns: REQUESTS,
    },
    Table {
        scenario: "keep-alive",
        title: "Kept connections",
        text: "The same, over connections that stay.",
        of: "server",
        columns: REQUESTS,
    },
    Table {
        scenario: "idle",
        title: "Ten thousand idle connections",
        text: "Each has asked once and stays. gunicorn is not made for it.",
        of: "server",
        columns: &[
            ("connections", "held", 0),
            ("memory", "memory MB", 1),
            ("each", "kB a connection", 2),
            ("cpu", "CPU ms a second", 2),
            ("primary", "the primary's kB for them", 0),
        ],
    },
    Table {
        scenario: "fair",
        title: "Fast requests among slow ones",
        text: "Latency of 200 fast requests a second, in ms, beside 10 a second that take 50 ms: that block their thread, or that \
               await. One connection for each.",
        of: "server, 4 workers",
        columns: &[
            ("block p50", "blocking: p50", 2),
            ("block p99", "p99", 2),
            ("block p99.9", "p99.9", 2),
            ("wait p50", "awaiting: p50", 2),
            ("wait p99", "p99", 2),
            ("wait p99.9", "p99.9", 2),
            ("failed", "failed", 0),
        ],
    },
    Table {
        scenario: "workers",
        title: "More workers",
        text: "CPU µs of a connection with one request, and memory in MB. 128 of Node's processes are not started.",
        of: "server",
        columns: &[
            ("2 cpu", "2 workers: µs", 1),
            ("8 cpu", "8: µs", 1),
            ("32 cpu", "32: µs", 1),
            ("128 cpu", "128: µs", 1),
            ("2 memory", "2 workers: MB", 1),
            ("8 memory", "8: MB", 1),
            ("32 memory", "32: MB", 1),
            ("128 memory", "128: MB", 1),
        ],
    },
    Table {
        scenario: "spread",
        title: "Who gets them",
        text: "1000 connections, one after the other. All come from one address, so that `sticky` has one place for them.",
        of: "server, 4 workers",
        columns: &[
            ("workers", "workers that answered", 0),
            ("least", "fewest", 0),
            ("most", "most", 0),
            ("unevenness", "most over mean", 3),
        ],
    },
    Table {
        scenario: "messages",
        title: "Words",
        text: "From a worker to the primary: small structs one way, and questions one after the other.",
        of: "",
        columns: &[
            ("a second", "messages a second", 0),
            ("p50", "question: p50 µs", 1),
            ("p99", "p99 µs", 1),
        ],
    },
    Table {
        scenario: "births",
        title: "Births and deaths",
        text: "Until a worker listens: from its fork, and from the SIGKILL of the one before it, the median and the longest of 20.",
        of: "server, 3 workers",
        columns: &[("fork", "fork: ms", 2), ("kill", "SIGKILL: ms", 2), ("longest", "longest ms", 2)],
    },
    Table {
        scenario: "reload",
        title: "Reload",
        text: "From the SIGHUP until the last old worker has gone, in ms; one place after the other.",
        of: "server",
        columns: &[("2", "2 workers", 1), ("8", "8 workers", 1)],
    },
    Table {
        scenario: "preload",
        title: "A preloaded table of 500 MB",
        text: "Every worker has read all of it.",
        of: "",
        columns: &[("memory", "memory MB", 1)],
    },
];

/// On what it was measured and how, the goals, the tables, and what was left out.
pub(crate) fn all(bench: &Bench) -> String {
    let options = &bench.options;
    let mut text = machine::describe(&bench.places, &options.servers);
    let _ = writeln!(
        text,
        "- the median of {} rounds, each load {:?} long, {} connections at a time, {} workers where nothing else is said\n",
        options.rounds, options.time, options.connections, options.workers
    );
    text += &goals::markdown(&bench.record);
    text += &tables(&bench.record);
    for note in &bench.record.notes {
        let _ = writeln!(text, "- {note}");
    }
    text
}

/// All of which something was measured.
pub(crate) fn tables(record: &Record) -> String {
    let mut text = String::new();
    for table in TABLES {
        text += &markdown(table, record);
    }
    text
}

fn markdown(table: &Table, record: &Record) -> String {
    let rows = record.rows(table.scenario);
    let mut text = String::new();
    if rows.is_empty() {
        return text;
    }
    let _ = write!(text, "### {}\n\n", table.title);
    if !table.text.is_empty() {
        let _ = write!(text, "{}\n\n", table.text);
    }
    let headings: Vec<&str> = table.columns.iter().map(|(_, heading, _)| *heading).collect();
    let _ = writeln!(text, "| {} | {} |", table.of, headings.join(" | "));
    let _ = writeln!(text, "| --- |{}", " ---: |".repeat(headings.len()));
    for row in rows {
        let cells: Vec<String> = table
            .columns
            .iter()
            .map(|(column, _, digits)| {
                let value = record.get(table.scenario, row, column);
                value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
            })
            .collect();
        let _ = writeln!(text, "| {} | {} |", title(row), cells.join(" | "));
    }
    text.push('\n');
    text
}

/// A server's, or what the scenario calls its row.
pub(crate) fn title(row: &str) -> &str {
    server::named(row).map_or(row, |server| server.title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_for_each_server_and_a_dash_for_what_is_not_known() {
        let mut record = Record::default();
        record.add("connection", "node", "cpu", 150.04);
        record.add("connection", "actix", "cpu", 35.06);
        record.add("connection", "actix", "throughput", 20_000.4);
        let text = tables(&record);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "### One connection for each request");
        assert!(lines[6].starts_with("| actix-web alone | 35.1 | 20000 | – |"), "{text}");
        assert!(lines[7].starts_with("| Node's cluster | 150.0 | – |"), "{text}");
        assert_eq!(lines.len(), 9, "{text}");
    }
}
