//! The rows of `docs/node.md` and `docs/scenarios.md`, and the tests that show them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One scenario.
#[derive(Clone, Debug)]
pub struct Row {
    /// Such as `P42`.
    pub id: String,
    /// The heading of its table.
    pub section: String,
    /// 1 to 3; those of Node's have none.
    pub tier: Option<u8>,
    /// Its tests.
    pub shown: Shown,
}

/// What shows a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// These tests.
    Tests(Vec<String>),
    /// Nothing, for a reason that is given: it does not apply.
    NotApplicable,
    /// Nothing yet, or nothing ever; the reason is given.
    NotDone,
}

/// The repository's folder.
///
/// # Panics
/// Outside of it.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The rows of all tables of a document, cell by cell, each with the heading above; headings and rules are not among
/// them.
///
/// # Panics
/// If there is no such document.
#[must_use]
pub fn cells(document: &str) -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(root().join(document)).expect("a document");
    let lines: Vec<_> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with("| ---");
    let (mut heading, mut rows) = (String::new(), Vec::new());
    for (n, line) in lines.iter().enumerate() {
        if let Some(title) = line.strip_prefix('#') {
            title.trim_start_matches('#').trim().clone_into(&mut heading);
        }
        let names_columns = lines.get(n + 1).is_some_and(|next| is_rule(next));
        if line.starts_with('|') && !names_columns && !is_rule(line) {
            // A bar within a cell is written as `\|`.
            let line = line.replace("\\|", "\u{0}");
            let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{0}', "|"));
            rows.push((heading.clone(), cells.collect()));
        }
    }
    rows
}

/// All scenarios, of both documents. `tests` are those there are.
#[must_use]
pub fn scenarios(tests: &BTreeSet<String>) -> Vec<Row> {
    let of_node = cells("docs/node.md").into_iter().filter(|(_, cells)| cells.len() == 4);
    let of_node = of_node.filter(|(_, cells)| is_id(&cells[0].to_lowercase())).map(|(_, cells)| {
        let named: Vec<_> = named(&cells[3]).into_iter().filter(|name| !ids(name).is_empty()).collect();
        let shown = if named.is_empty() { Shown::NotApplicable } else { Shown::Tests(named) };
        let section =
            if cells[0].starts_with('N') { "test-cluster-*" } else { "test-child-process-* and others" };
        Row { id: cells[0].clone(), section: section.to_owned(), tier: None, shown }
    });
    let ours = cells("docs/scenarios.md").into_iter().map(|(section, cells)| {
        let shown = match cells[3].as_str() {
            "by id" => Shown::Tests(by_id(&cells[0], tests)),
            reason if reason.starts_with("Does not apply") => Shown::NotApplicable,
            reason if reason.starts_with("Not done") => Shown::NotDone,
            names => Shown::Tests(named(names)),
        };
        Row { id: cells[0].clone(), section, tier: cells[1].parse().ok(), shown }
    });
    of_node.chain(ours).collect()
}

/// Those whose names begin with this id.
#[must_use]
pub fn by_id(id: &str, tests: &BTreeSet<String>) -> Vec<String> {
    tests.iter().filter(|test| ids(test).contains(&id.to_uppercase())).cloned().collect()
}

/// The ids at the beginning of a test's name: `p20_p79_a_reload` is of P20 and P79.
#[must_use]
pub fn ids(test: &str) -> Vec<String> {
    test.split('_').take_while(|part| is_id(part)).map(str::to_uppercase).collect()
}

/// `n03`, `p42`, `s28`, `g1`.
fn is_id(part: &str) -> bool {
    let number = part.strip_prefix(['g', 'n', 'p', 'r', 's']);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()))
}

/// What stands in backticks and is named as a test is.
#[must_use]
pub fn named(cell: &str) -> Vec<String> {
    let word = |name: &&str| {
        name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    cell.split('`').skip(1).step_by(2).filter(word).map(str::to_owned).collect()
}

/// The names of all functions in the repository that are tests.
#[must_use]
pub fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["cluster-runtime", "cluster-macros", "judge", "tests"] {
        collect(&root().join(folder), &mut found);
    }
    found
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
                match name.and_then(|name| name.split('(').next()) {
                    Some(name) if is_test => found.extend([name.to_owned()]),
                    None if line.starts_with('#') || line.starts_with("//") => {
                        is_test |= line.starts_with("#[test]")
                            || line.contains("::test]")
                            || line.contains("::test(");
                        continue;
                    }
                    _ => {}
                }
                is_test = false;
            }
        }
    }
}
