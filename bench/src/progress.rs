//! How far it is, for a person who waits: one line on a terminal, nothing anywhere else.

use std::io::{IsTerminal, Write, stderr};

#[derive(Debug)]
pub(crate) struct Progress {
    scenario: String,
    done: usize,
    all: usize,
    shown: bool,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress { scenario: String::new(), done: 0, all: 0, shown: stderr().is_terminal() }
    }

    /// A scenario of so many steps begins.
    pub(crate) fn begin(&mut self, scenario: &str, all: usize) {
        (self.scenario, self.done, self.all) = (scenario.to_owned(), 0, all);
    }

    /// The next step, of this name, begins.
    pub(crate) fn step(&mut self, what: &str) {
        if self.shown {
            let bar = bar(self.done, self.all);
            let _ = write!(stderr(), "\r\x1b[K{bar} {}: {what}", self.scenario);
            let _ = stderr().flush();
        }
        self.done += 1;
    }

    /// The line is taken away, for others to print.
    pub(crate) fn clear(&self) {
        if self.shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn bar(done: usize, all: usize) -> String {
    let full = 20 * done.min(all) / all.max(1);
    format!("[{}{}] {done}/{all}", "#".repeat(full), " ".repeat(20 - full))
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn a_bar_grows() {
        assert_eq!(bar(0, 4), format!("[{}] 0/4", " ".repeat(20)));
        assert_eq!(bar(4, 4), format!("[{}] 4/4", "#".repeat(20)));
        assert_eq!(bar(0, 0), format!("[{}] 0/0", " ".repeat(20)));
    }
}
