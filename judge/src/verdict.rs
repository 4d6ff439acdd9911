//! What is to be said of a server in the end: the table, the first bad records, and whether it is clean.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::plan::Plan;
use crate::record::{Class, Record};

/// So many bad records of each class are shown in full.
const SHOWN: usize = 4;

/// The clients of one kind on one address.
#[derive(Clone, Debug)]
pub struct Row {
    name: String,
    address: String,
    counts: [u64; Class::ALL.len()],
    raced_in_time: u64,
    /// Of those that were answered, in microseconds.
    latencies: Histogram<u64>,
    last_ok: Duration,
    gap: Duration,
    first_refusal: Option<Duration>,
    last_let_in: Option<Duration>,
}

impl Row {
    fn new(name: String, address: String) -> Self {
        // From a microsecond to an hour, with three digits: what is valid does not depend on the input.
        let latencies = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("valid bounds");
        Self {
            name,
            address,
            counts: [0; Class::ALL.len()],
            raced_in_time: 0,
            latencies,
            last_ok: Duration::ZERO,
            gap: Duration::ZERO,
            first_refusal: None,
            last_let_in: None,
        }
    }

    /// The crew and the address.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many requests are in this class.
    #[must_use]
    pub fn count(&self, class: Class) -> u64 {
        self.counts[class as usize]
    }

    /// The longest time in which no request was answered.
    #[must_use]
    pub fn gap(&self) -> Duration {
        self.gap
    }

    fn enter(&mut self, record: &Record, is_over: bool) {
        let class = record.class();
        let end = record.began + record.took;
        self.counts[class as usize] += 1;
        self.raced_in_time += u64::from(class == Class::Raced && !record.late);
        if class == Class::Ok {
            let micros = u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX);
            self.latencies.saturating_record(micros);
            if !is_over {
                self.gap = self.gap.max(end.saturating_sub(self.last_ok));
            }
            self.last_ok = self.last_ok.max(end);
        }
        if class == Class::Refused {
            self.first_refusal = Some(self.first_refusal.map_or(end, |first| first.min(end)));
        }
    }
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Verdict {
    rows: Vec<Row>,
    all: Row,
    bad: Vec<Record>,
    /// What came first of each; by its client, which is the upper half of its requests' ids, and its number there.
    harmed: BTreeMap<(u64, u64), Record>,
    failures: Vec<String>,
    took: Duration,
    seed: u64,
    may_stop: bool,
    may_race: bool,
    is_over: bool,
}

impl Verdict {
    pub(crate) fn new(plan: &Plan) -> Self {
        let row = |address: &crate::Address, crew: &crate::Crew| {
            Row::new(format!("{crew} {address}"), address.to_string())
        };
        let each =
            plan.addresses.iter().flat_map(|address| plan.crews.iter().map(move |crew| row(address, crew)));
        Self {
            rows: each.collect(),
            all: Row::new("all".to_owned(), String::new()),
            bad: Vec::new(),
            harmed: BTreeMap::new(),
            failures: Vec::new(),
            took: Duration::ZERO,
            seed: plan.seed,
            may_stop: plan.may_stop,
            may_race: plan.may_race,
            is_over: false,
        }
    }

    pub(crate) fn enter(&mut self, row: usize, record: Record) {
        // After the end nobody begins anything, so who is answered late leaves a gap that says nothing.
        let is_over = self.is_over;
        self.rows[row].enter(&record, is_over);
        self.all.enter(&record, is_over);
        let class = record.class();
        if class.is_bad() && class != Class::Refused {
            let connection = (record.id >> 32, record.connection);
            self.harmed.entry(connection).or_insert_with(|| record.clone());
        }
        let alike = self.bad.iter().filter(|other| other.class() == class).count();
        if self.is_bad(class) && alike < SHOWN {
            self.bad.push(record);
        }
    }

    pub(crate) fn let_in(&mut self, row: usize, began: Duration) {
        let row = &mut self.rows[row];
        row.last_let_in = row.last_let_in.max(Some(began));
    }

    pub(crate) fn fail(&mut self, row: usize, error: &io::Error) {
        self.failures.push(format!("the judge itself could not go on with {}: {error}", self.rows[row].name));
    }

    pub(crate) fn end(&mut self, at: Duration) {
        (self.took, self.is_over) = (at, true);
        if !self.may_stop {
            for row in self.rows.iter_mut().chain([&mut self.all]) {
                row.gap = row.gap.max(at.saturating_sub(row.last_ok));
            }
        }
    }

    /// A row for each kind of client on each address.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How many requests of all clients are in this class.
    #[must_use]
    pub fn count(&self, class: Class) -> u64 {
        self.all.count(class)
    }

    /// The first few records of each class that speak against the server.
    #[must_use]
    pub fn bad(&self) -> &[Record] {
        &self.bad
    }

    /// How many raced that were not late: the server had not waited for them as long as it is to.
    #[must_use]
    pub fn raced_in_time(&self) -> u64 {
        self.all.raced_in_time
    }

    /// How many requests there were.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.all.counts.iter().sum()
    }

    /// The connections on which something bad happened, be it to one request or to several, also those that raced: the first
    /// of each. A client that was refused had no connection.
    pub fn harmed(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.harmed.values()
    }

    /// The longest time in which no request of any client was answered.
    #[must_use]
    pub fn gap(&self) -> Duration {
        self.all.gap
    }

    /// Whether nothing speaks against the server.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults().is_empty()
    }

    /// All that speaks against it, and what leaves the judge without a judgement.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.failures.clone();
        for class in Class::ALL {
            if self.is_bad(class) && self.count(class) > 0 {
                faults.push(format!("{} {}", self.count(class), class.name()));
            }
        }
        for row in self.rows.iter().filter(|row| row.count(Class::Ok) == 0) {
            faults.push(format!("{} was never served, which proves nothing", row.name));
        }
        if self.may_stop {
            faults.extend(self.reopened());
        }
        faults
    }

    /// Whoever may be stopped may refuse; more about it in [`reopened`](Self::reopened).
    fn is_bad(&self, class: Class) -> bool {
        match class {
            Class::Refused => !self.may_stop,
            Class::Raced => !self.may_race,
            class => class.is_bad(),
        }
    }

    /// Whoever has stopped takes nobody on who knocks after somebody was refused.
    fn reopened(&self) -> Vec<String> {
        let mut faults: Vec<String> = Vec::new();
        for address in self.rows.iter().map(|row| &row.address) {
            let here = || self.rows.iter().filter(|row| row.address == *address);
            let refused = here().filter_map(|row| row.first_refusal).min();
            let let_in = here().filter_map(|row| row.last_let_in).max();
            let fault = format!("{address} was open again after it had refused somebody");
            if refused.is_some_and(|refused| let_in > Some(refused)) && !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        faults
    }

    /// One line for a person who waits.
    #[must_use]
    pub fn progress(&self) -> String {
        let bad: u64 =
            Class::ALL.iter().filter(|class| self.is_bad(**class)).map(|class| self.count(*class)).sum();
        let (ok, idle) = (self.count(Class::Ok), self.count(Class::IdleClose));
        format!("{:>6.1} s: {ok} ok, {idle} idle closes, {bad} bad", self.took.as_secs_f64())
    }
}

/// As Markdown.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = self.requests();
        writeln!(
            f,
            "{requests} requests in {:.1} s, seed {}; times in ms\n",
            self.took.as_secs_f64(),
            self.seed
        )?;
        let classes = Class::ALL.map(Class::name).join(" | ");
        writeln!(f, "| client | {classes} | p50 | p99 | max | longest gap |")?;
        writeln!(f, "| --- |{}", " ---: |".repeat(Class::ALL.len() + 4))?;
        for row in self.rows.iter().chain([&self.all]) {
            writeln!(f, "{row}")?;
        }
        if !self.bad.is_empty() {
            writeln!(f, "\nThe first bad ones, at most {SHOWN} of a class:\n")?;
        }
        for record in &self.bad {
            writeln!(f, "- {record}")?;
        }
        let faults = self.faults();
        write!(f, "\nVerdict: {}", if faults.is_empty() { "clean".to_owned() } else { faults.join("; ") })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} |", self.name)?;
        for count in self.counts {
            write!(f, " {count} |")?;
        }
        let quantile = |q| self.latencies.value_at_quantile(q) as f64 / 1000.0;
        let gap = self.gap.as_secs_f64() * 1000.0;
        write!(f, " {:.2} | {:.2} | {:.2} | {gap:.0} |", quantile(0.5), quantile(0.99), quantile(1.0))
    }
}
