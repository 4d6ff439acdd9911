//! Where all clients enter their records, and where whoever waits for them looks.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::record::{Class, Record};
use crate::verdict::Verdict;

#[derive(Debug)]
pub(crate) struct Ledger {
    beginning: Instant,
    names: Vec<Arc<str>>,
    pages: Mutex<Pages>,
    changed: Condvar,
}

#[derive(Debug)]
struct Pages {
    verdict: Verdict,
    is_over: bool,
}

impl Ledger {
    pub(crate) fn new(plan: &Plan) -> Self {
        let verdict = Verdict::new(plan);
        let names = verdict.rows().iter().map(|row| row.name().into()).collect();
        let pages = Mutex::new(Pages { verdict, is_over: false });
        Self { beginning: Instant::now(), names, pages, changed: Condvar::new() }
    }

    /// The time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.beginning.elapsed()
    }

    pub(crate) fn name(&self, row: usize) -> Arc<str> {
        Arc::clone(&self.names[row])
    }

    pub(crate) fn enter(&self, row: usize, record: Record) {
        self.write(|pages| pages.verdict.enter(row, record));
    }

    /// A connection was accepted that somebody began to ask for at this time.
    pub(crate) fn let_in(&self, row: usize, began: Duration) {
        self.write(|pages| pages.verdict.let_in(row, began));
    }

    /// A client could not go on.
    pub(crate) fn fail(&self, row: usize, error: &io::Error) {
        self.write(|pages| pages.verdict.fail(row, error));
    }

    pub(crate) fn is_over(&self) -> bool {
        self.pages().is_over
    }

    pub(crate) fn end(&self) {
        self.write(|pages| {
            pages.is_over = true;
            pages.verdict.end(self.now());
        });
    }

    /// Blocks until each row has this many more requests of this class; `false` if the time was over before.
    pub(crate) fn each_has(&self, class: Class, more: u64, limit: Duration) -> bool {
        let guard = self.pages();
        let count =
            |pages: &Pages| pages.verdict.rows().iter().map(|row| row.count(class)).collect::<Vec<_>>();
        let before = count(&guard);
        let missing =
            |pages: &mut Pages| count(pages).iter().zip(&before).any(|(now, before)| *now < before + more);
        let waited = self.changed.wait_timeout_while(guard, limit, missing);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let pages = self.pages();
        let mut verdict = pages.verdict.clone();
        if !pages.is_over {
            verdict.end(self.now());
        }
        verdict
    }

    fn write(&self, entry: impl FnOnce(&mut Pages)) {
        entry(&mut self.pages());
        self.changed.notify_all();
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
