//! `docs/node.md` keeps its word: no empty cell, and every test that it names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The rows of all tables, cell by cell; headings and rules are not among them.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/node.md")).expect("docs/node.md");
    let lines: Vec<_> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with("| ---");
    let row = |n: &usize| {
        let heading = lines.get(n + 1).is_some_and(|next| is_rule(next));
        lines[*n].starts_with('|') && !heading && !is_rule(lines[*n])
    };
    let cells = |line: &str| {
        // A bar within a cell is written as `\|`.
        let line = line.replace("\\|", "\u{0}");
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
    };
    (0..lines.len()).filter(row).map(|n| cells(lines[n])).collect()
}

/// What stands in backticks and is named as a test is.
fn tests_in(cell: &str) -> Vec<&str> {
    let id = |name: &&str| {
        let word = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        word && name.contains('_')
    };
    cell.split('`').skip(1).step_by(2).filter(id).collect()
}

/// The names of all functions in the repository that are tests.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["cluster-runtime", "cluster-macros", "tests"] {
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

#[test]
fn every_row_of_the_parity_table_is_whole_and_names_tests_that_exist() {
    let (rows, tests) = (rows(), tests());
    assert!(
        rows.len() > 150 && tests.len() > 100,
        "{} rows, {} tests: is this the table?",
        rows.len(),
        tests.len()
    );
    let mut wrong = Vec::new();
    for row in &rows {
        let of_node = row.len() == 4;
        if row.iter().any(String::is_empty) {
            wrong.push(format!("an empty cell: {row:?}"));
        }
        let mut named = tests_in(row.last().expect("a row has cells"));
        if of_node {
            // A reason may name other things.
            named.retain(|name| name.split('_').next().is_some_and(is_id_of_any));
        }
        let nothing_to_show = row.last().is_some_and(|cell| cell == "–");
        if named.is_empty() && !of_node && !nothing_to_show {
            wrong.push(format!("no test: {row:?}"));
        }
        let missing = named.into_iter().filter(|name| !tests.contains(*name));
        wrong.extend(missing.map(|name| format!("no such test as {name}: {row:?}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The other way round: a test that bears the id of one of Node's tests is in the row of it.
#[test]
fn every_test_of_a_scenario_of_nodes_is_in_its_row() {
    let (rows, mut missing) = (rows(), Vec::new());
    for test in tests() {
        for id in test.split('_').take_while(|part| is_id(part)) {
            let row = rows.iter().find(|row| row[0] == id.to_uppercase());
            if !row.is_some_and(|row| row[3].contains(&format!("`{test}`"))) {
                missing.push(format!("{test} is not in the row of {}", id.to_uppercase()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// `n03`, `p42`, `s28`.
fn is_id_of_any(part: &str) -> bool {
    part.len() > 1 && part.is_char_boundary(1) && part[1..].bytes().all(|c| c.is_ascii_digit())
}

/// Of Node's.
fn is_id(part: &str) -> bool {
    part.len() == 3 && part.starts_with(['n', 'r']) && part[1..].bytes().all(|c| c.is_ascii_digit())
}
