//! What the cluster should reach, and whether it did in this run.

use std::fmt::Write;

use crate::record::Record;
use crate::report::title;

/// One goal, and what was measured for it.
#[derive(Debug, PartialEq)]
struct Goal {
    text: String,
    bound: Bound,
    digits: usize,
    measured: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    Most(f64),
    Least(f64),
}

impl Goal {
    fn reached(&self) -> Option<bool> {
        self.measured.map(|measured| match self.bound {
            Bound::Most(most) => measured <= most,
            Bound::Least(least) => measured >= least,
        })
    }
}

/// As a table; nothing where nothing was measured.
pub(crate) fn markdown(record: &Record) -> String {
    let goals = goals(record);
    let mut text = String::new();
    if goals.iter().all(|goal| goal.measured.is_none()) {
        return text;
    }
    text += "### Goals\n\n| goal | bound | measured | |\n| --- | ---: | ---: | --- |\n";
    for goal in &goals {
        let (Some(measured), Some(reached)) = (goal.measured, goal.reached()) else {
            let _ = writeln!(text, "| {} | {} | – | not measured |", goal.text, bound(goal));
            continue;
        };
        let (digits, word) = (goal.digits, if reached { "reached" } else { "**missed**" });
        let _ = writeln!(text, "| {} | {} | {measured:.digits$} | {word} |", goal.text, bound(goal));
    }
    text.push('\n');
    text
}

fn bound(goal: &Goal) -> String {
    let digits = goal.digits;
    match goal.bound {
        Bound::Most(most) => format!("≤ {most:.digits$}"),
        Bound::Least(least) => format!("≥ {least:.digits$}"),
    }
}

fn goals(record: &Record) -> Vec<Goal> {
    let get = |scenario, row, column| record.get(scenario, row, column);
    let over = |scenario, row, other, column| record.over(scenario, row, other, column);
    let mut goals = Vec::new();
    let mut goal = |text: String, bound, digits, measured| goals.push(Goal { text, bound, digits, measured });

    let words =
        [("connection", "CPU of a connection"), ("keep-alive", "CPU of a request on a kept connection")];
    for (row, bounds) in [("cluster", [1.05, 1.0]), ("shared", [1.0, 1.0]), ("reuseport", [1.0, 1.0])] {
        for ((scenario, text), most) in words.into_iter().zip(bounds) {
            let measured = over(scenario, row, "actix", "cpu");
            goal(format!("{}: {text}, over actix-web alone", title(row)), Bound::Most(most), 2, measured);
        }
    }
    for (scenario, text) in words {
        let measured = over(scenario, "node", "cluster", "cpu");
        goal(format!("Node's cluster: {text}, over cluster, round-robin"), Bound::Least(4.0), 1, measured);
    }
    let measured = get("spread", "cluster", "unevenness");
    goal("round-robin: the most connections over the mean".to_owned(), Bound::Most(1.0), 3, measured);
    for other in ["cluster", "node"] {
        let measured = over("fair", "least-connections", other, "block p99");
        let text =
            format!("least-connections: p99 of fast requests among blocking ones, over {}", title(other));
        goal(text, Bound::Most(0.99), 2, measured);
    }
    goal("SIGKILL to listening, ms".to_owned(), Bound::Most(1.0), 2, get("births", "cluster", "kill"));
    let a_second = get("messages", "cluster", "a second");
    goal("messages a second".to_owned(), Bound::Least(1e6), 0, a_second);
    goal("question and answer, µs".to_owned(), Bound::Most(20.0), 1, get("messages", "cluster", "p50"));
    let more = || Some((get("workers", "cluster", "8 memory")? - get("workers", "actix", "8 memory")?) / 8.0);
    goal("memory over actix-web alone, MB a worker (of 8)".to_owned(), Bound::Most(1.0), 2, more());
    let once = || Some(get("preload", "8 workers", "memory")? - get("preload", "1 worker", "memory")?);
    goal("500 MB preloaded: 8 workers over 1, MB".to_owned(), Bound::Most(10.0), 1, once());
    let flat = || Some(get("workers", "cluster", "128 cpu")? / get("workers", "cluster", "2 cpu")?);
    goal("CPU of a connection with 128 workers, over 2".to_owned(), Bound::Most(1.25), 2, flat());
    let grown = get("idle", "cluster", "primary");
    goal("the primary's memory for 10 000 connections, kB".to_owned(), Bound::Most(100.0), 0, grown);
    goals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_missed_or_not_measured() {
        let mut record = Record::default();
        for (row, cpu) in [("cluster", 36.0), ("actix", 35.0), ("node", 100.0)] {
            record.add("connection", row, "cpu", cpu);
        }
        let text = markdown(&record);
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_default();
        assert!(line("round-robin: CPU of a connection").ends_with("| ≤ 1.05 | 1.03 | reached |"), "{text}");
        assert!(line("Node's cluster: CPU of a conn").ends_with("| ≥ 4.0 | 2.8 | **missed** |"), "{text}");
        assert!(line("SIGKILL").ends_with("| – | not measured |"), "{text}");
        assert_eq!(markdown(&Record::default()), "");
    }
}
