//! What was measured: every value of every round, until the median is asked for.

use std::collections::BTreeMap;

use crate::server::ALL;
use crate::stats::median;

/// What a value belongs to: scenario, row and column.
type Key = (String, String, &'static str);

/// All values, and what there is to say beside them.
#[derive(Debug, Default)]
pub(crate) struct Record {
    values: BTreeMap<Key, Vec<f64>>,
    /// What could not be measured, and why.
    pub(crate) notes: Vec<String>,
}

impl Record {
    pub(crate) fn add(&mut self, scenario: &str, row: &str, column: &'static str, value: f64) {
        self.values.entry((scenario.to_owned(), row.to_owned(), column)).or_default().push(value);
    }

    /// The median of the rounds.
    pub(crate) fn get(&self, scenario: &str, row: &str, column: &str) -> Option<f64> {
        median(self.of(scenario, row, column)?)
    }

    /// One over another: the median of each round's own quotient, since what else went on in a round met both.
    pub(crate) fn over(&self, scenario: &str, row: &str, other: &str, column: &str) -> Option<f64> {
        let (ones, others) = (self.of(scenario, row, column)?, self.of(scenario, other, column)?);
        median(&ones.iter().zip(others).map(|(one, other)| one / other).collect::<Vec<f64>>())
    }

    fn of(&self, scenario: &str, row: &str, column: &str) -> Option<&[f64]> {
        let mut all = self.values.iter();
        let (_, values) = all.find(|((s, r, c), _)| s == scenario && r == row && *c == column)?;
        Some(values)
    }

    /// The rows of a scenario: servers in their order, then others in that of their names.
    pub(crate) fn rows(&self, scenario: &str) -> Vec<&str> {
        let mut rows: Vec<&str> =
            self.values.keys().filter(|(s, _, _)| s == scenario).map(|(_, row, _)| row.as_str()).collect();
        rows.dedup();
        rows.sort_by_key(|row| ALL.iter().position(|server| server.name == *row).unwrap_or(ALL.len()));
        rows
    }

    /// Says so at once, too; and once only, whatever the number of rounds.
    pub(crate) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            eprintln!("{note}");
            self.notes.push(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounds_median_is_what_counts() {
        let mut record = Record::default();
        for value in [3.0, 100.0, 1.0] {
            record.add("connection", "actix", "cpu", value);
        }
        assert_eq!(record.get("connection", "actix", "cpu"), Some(3.0));
        assert_eq!(record.get("connection", "node", "cpu"), None);
        assert_eq!(record.over("connection", "actix", "node", "cpu"), None);
        // In the second round everything was slow.
        for value in [1.0, 50.0, 1.0] {
            record.add("connection", "node", "cpu", value);
        }
        assert_eq!(record.over("connection", "actix", "node", "cpu"), Some(2.0));
        assert_eq!((record.rows("connection"), record.rows("idle")), (vec!["actix", "node"], vec![]));
    }
}
