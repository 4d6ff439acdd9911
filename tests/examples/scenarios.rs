//! How much of what Node's own tests of `cluster` and `child_process` claim holds here:
//! `cargo run -p cluster-tests --example scenarios`.
//!
//! The claims are the rows of `docs/node.md`. Every test that they name is run, and the rows are counted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio, exit};

/// A row of the document.
struct Scenario {
    id: String,
    /// None: it does not apply, for the reason that the document gives.
    tests: Vec<String>,
}

/// How a test ended; `skipped` ones miss a tool or a right, and say so.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Passed,
    Failed,
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let text = std::fs::read_to_string(root.join("docs/node.md")).expect("docs/node.md");
    let scenarios: Vec<_> = text.lines().filter_map(scenario).collect();
    let names: Vec<_> = scenarios.iter().flat_map(|scenario| &scenario.tests).collect();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--workspace", "--no-fail-fast", "--lib", "--test", "*", "--"]).args(names);
    let mut run = cargo.current_dir(root).stdout(Stdio::piped()).spawn().expect("cargo runs");
    let lines = BufReader::new(run.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let outcomes: BTreeMap<String, Outcome> = lines.filter_map(|line| outcome(&line)).collect();
    run.wait().expect("cargo ends");
    let mut healthy = true;
    for (letter, source) in [('N', "test-cluster-*"), ('R', "test-child-process-* and others")] {
        healthy &= count(letter, source, &scenarios, &outcomes);
    }
    exit(i32::from(!healthy));
}

/// Prints one family's count; whether nothing failed.
fn count(letter: char, source: &str, all: &[Scenario], outcomes: &BTreeMap<String, Outcome>) -> bool {
    let family: Vec<_> = all.iter().filter(|scenario| scenario.id.starts_with(letter)).collect();
    let applicable: Vec<_> = family.iter().filter(|scenario| !scenario.tests.is_empty()).collect();
    let passed = |test: &String| outcomes.get(test) == Some(&Outcome::Passed);
    let failed: Vec<_> = applicable.iter().filter(|scenario| !scenario.tests.iter().all(passed)).collect();
    println!(
        "{letter} ({source}): {} passed / {} applicable; {} of {} do not apply, for the reasons given",
        applicable.len() - failed.len(),
        applicable.len(),
        family.len() - applicable.len(),
        family.len(),
    );
    for scenario in &failed {
        let bad: Vec<_> = scenario.tests.iter().filter(|test| !passed(test)).map(String::as_str).collect();
        println!("    {}: {} failed, or did not run", scenario.id, bad.join(", "));
    }
    failed.is_empty()
}

/// `| N03 | claim | `n03_a`, `n03_b` |`
fn scenario(line: &str) -> Option<Scenario> {
    let mut cells = line.strip_prefix("| ")?.split(" | ");
    let id = cells.next()?.to_owned();
    let numbered = id.len() == 3 && id.starts_with(['N', 'R']) && id[1..].bytes().all(|c| c.is_ascii_digit());
    let shown = cells.last()?.trim_end_matches(" |");
    // A test's name is what begins with an id; a reason may name other things.
    let tests = shown.split('`').skip(1).step_by(2).filter(|name| is_test(name)).map(str::to_owned).collect();
    numbered.then_some(Scenario { id, tests })
}

fn is_test(name: &str) -> bool {
    let id = name.split('_').next().unwrap_or_default();
    name.contains('_') && id.len() > 1 && id[1..].bytes().all(|c| c.is_ascii_digit())
}

/// `test module::n03_each ... ok`
fn outcome(line: &str) -> Option<(String, Outcome)> {
    let (name, end) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let name = name.trim_end_matches(" - should panic").rsplit("::").next()?;
    let outcome = if end.starts_with("ok") { Outcome::Passed } else { Outcome::Failed };
    Some((name.to_owned(), outcome))
}
