//! How much of what is to hold does: `cargo run -p cluster-tests --example scenarios`.
//!
//! The claims are the rows of `docs/node.md`, which are those of Node's own tests, and of `docs/scenarios.md`. Every test
//! that shows one is run, and the rows are counted, for each table and for each tier.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio, exit};

use cluster_tests::rows::{Row, Shown, root, scenarios, tests};

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Passed,
    Failed,
    /// It misses a tool or a right here, and has said so.
    Skipped,
}

/// How a row did.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Passed,
    Failed,
    Skipped,
    NotDone,
    NotApplicable,
}

type Outcomes = BTreeMap<String, Outcome>;

fn main() {
    let rows = scenarios(&tests());
    let outcomes = run(&rows);
    let mut tables: Vec<&str> = Vec::new();
    for row in &rows {
        if !tables.contains(&row.section.as_str()) {
            tables.push(&row.section);
        }
    }
    for table in tables {
        count(table, &rows, &outcomes, |row| row.section == table);
    }
    for tier in 1..=3 {
        count(&format!("tier {tier}"), &rows, &outcomes, |row| row.tier == Some(tier));
    }
    count("all", &rows, &outcomes, |_| true);
    let failed: Vec<_> = rows.iter().filter(|row| verdict(row, &outcomes) == Verdict::Failed).collect();
    for row in &failed {
        let Shown::Tests(shown) = &row.shown else { continue };
        let bad = shown.iter().filter(|test| matches!(outcomes.get(*test), None | Some(Outcome::Failed)));
        let bad: Vec<_> = bad.map(String::as_str).collect();
        println!("    {}: {} failed, or did not run", row.id, bad.join(", "));
    }
    exit(i32::from(!failed.is_empty()));
}

/// Runs every test that shows something.
fn run(rows: &[Row]) -> Outcomes {
    let shown = rows.iter().filter_map(|row| match &row.shown {
        Shown::Tests(shown) => Some(shown),
        _ => None,
    });
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--workspace", "--no-fail-fast", "--lib", "--test", "*", "--", "--show-output"]);
    cargo.args(shown.flatten()).current_dir(root()).stdout(Stdio::piped());
    let mut run = cargo.spawn().expect("cargo runs");
    let lines = BufReader::new(run.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let (mut outcomes, mut speaks) = (Outcomes::new(), String::new());
    for line in lines {
        if let Some((test, outcome)) = outcome(&line) {
            outcomes.insert(test, outcome);
        } else if let Some(test) =
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            name(test).clone_into(&mut speaks);
        } else if line.starts_with("skipped: ") {
            outcomes.insert(speaks.clone(), Outcome::Skipped);
        }
    }
    run.wait().expect("cargo ends");
    outcomes
}

fn verdict(row: &Row, outcomes: &Outcomes) -> Verdict {
    let shown = match &row.shown {
        Shown::Tests(shown) => shown,
        Shown::NotApplicable => return Verdict::NotApplicable,
        Shown::NotDone => return Verdict::NotDone,
    };
    let all: Vec<_> = shown.iter().map(|test| outcomes.get(test)).collect();
    if all.is_empty() || all.iter().any(|outcome| matches!(outcome, None | Some(Outcome::Failed))) {
        Verdict::Failed
    } else if all.contains(&Some(&Outcome::Skipped)) {
        Verdict::Skipped
    } else {
        Verdict::Passed
    }
}

/// `Reload: 17 passed / 18 applicable; not done: P65; 3 do not apply`
fn count(title: &str, rows: &[Row], outcomes: &Outcomes, belongs: impl Fn(&Row) -> bool) {
    let mut by: Vec<(Verdict, &str)> = Vec::new();
    by.extend(rows.iter().filter(|row| belongs(row)).map(|row| (verdict(row, outcomes), row.id.as_str())));
    let of = |wanted: Verdict| -> Vec<&str> {
        by.iter().filter(|(verdict, _)| *verdict == wanted).map(|(_, id)| *id).collect()
    };
    let elsewhere = of(Verdict::NotApplicable).len();
    let mut line =
        format!("{title}: {} passed / {} applicable", of(Verdict::Passed).len(), by.len() - elsewhere);
    for (what, verdict) in
        [("FAILED", Verdict::Failed), ("skipped here", Verdict::Skipped), ("not done", Verdict::NotDone)]
    {
        let ids = of(verdict);
        if !ids.is_empty() {
            line += &format!("; {what}: {}", ids.join(" "));
        }
    }
    if elsewhere > 0 {
        line += &format!("; {elsewhere} do not apply, for the reasons given");
    }
    println!("{line}");
}

/// `test module::n03_each ... ok`
fn outcome(line: &str) -> Option<(String, Outcome)> {
    let (test, end) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = if end.starts_with("ok") { Outcome::Passed } else { Outcome::Failed };
    Some((name(test).to_owned(), outcome))
}

fn name(test: &str) -> &str {
    test.trim_end_matches(" - should panic").rsplit("::").next().unwrap_or(test)
}
