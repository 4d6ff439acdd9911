//! `docs/node.md` and `docs/scenarios.md` keep their word: no empty cell, every test that they name is there, and every
//! test that bears an id is in its row.

use cluster_tests::rows::{Shown, cells, ids, named, scenarios, tests};

fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_row_of_the_parity_table_is_whole_and_names_tests_that_exist() {
    let (rows, tests) = (cells("docs/node.md"), tests());
    let counts = (rows.len(), tests.len());
    assert!(counts.0 > 150 && counts.1 > 100, "{counts:?}: is this the table?");
    let mut wrong = Vec::new();
    for (_, row) in &rows {
        let of_node = row.len() == 4;
        if row.iter().any(String::is_empty) {
            wrong.push(format!("an empty cell: {row:?}"));
        }
        let shown = row.last().expect("a row has cells");
        let mut named = named(shown);
        if of_node {
            // A reason may name other things.
            named.retain(|name| !ids(name).is_empty());
        }
        if named.is_empty() && !of_node && shown != "–" {
            wrong.push(format!("no test: {row:?}"));
        }
        let missing = named.into_iter().filter(|name| !tests.contains(name));
        wrong.extend(missing.map(|name| format!("no such test as {name}: {row:?}")));
    }
    none(wrong);
}

#[test]
fn every_scenario_is_whole_and_shown_by_tests_that_exist_or_says_why_not() {
    let (rows, tests) = (cells("docs/scenarios.md"), tests());
    assert!(rows.len() > 150, "{} rows: is this the table?", rows.len());
    let mut wrong = Vec::new();
    for (_, row) in &rows {
        let tier = row.get(1).and_then(|tier| tier.parse::<u8>().ok());
        if row.len() != 4
            || row.iter().any(String::is_empty)
            || !tier.is_some_and(|tier| (1..=3).contains(&tier))
        {
            wrong.push(format!("id, tier, what holds, what shows it: {row:?}"));
        }
    }
    for row in scenarios(&tests) {
        let Shown::Tests(shown) = &row.shown else { continue };
        if shown.is_empty() {
            wrong.push(format!("no test bears the id {}", row.id));
        }
        let missing = shown.iter().filter(|test| !tests.contains(*test));
        wrong.extend(missing.map(|test| format!("no such test as {test}: {}", row.id)));
    }
    none(wrong);
}

/// The other way round: a test that bears an id is in the row of it. A row that was not done has to say `by id` now.
#[test]
fn every_test_with_an_id_is_in_its_row() {
    let tests = tests();
    let (rows, mut wrong) = (scenarios(&tests), Vec::new());
    for test in &tests {
        for id in ids(test) {
            let row = rows.iter().find(|row| row.id == id);
            let listed =
                row.is_some_and(|row| matches!(&row.shown, Shown::Tests(shown) if shown.contains(test)));
            if !listed {
                wrong.push(format!("{test} is not in the row of {id}"));
            }
        }
    }
    none(wrong);
}
