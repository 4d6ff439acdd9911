//! What was measured, as Markdown.

use std::fmt::Write;

use crate::record::Record;
use crate::server;

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
        text: "",
        of: "server",
        columns: REQUESTS,
    },
    Table { scenario: "keep-alive", title: "Kept connections", text: "", of: "server", columns: REQUESTS },
];

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
        assert!(lines[4].starts_with("| actix-web alone | 35.1 | 20000 | – |"), "{text}");
        assert!(lines[5].starts_with("| Node's cluster | 150.0 | – |"), "{text}");
        assert_eq!(lines.len(), 7 - 1, "{text}");
    }
}
