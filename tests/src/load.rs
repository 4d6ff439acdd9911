//! Load: clients that ask without a pause, and a tally in which every request has its place.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{KeptAlive, Outcome, attempt_in_time};

/// How the requests ended. Each is in exactly one of the counts.
#[derive(Debug, Default)]
pub struct Tally {
    /// Complete answers with status 200.
    pub ok: usize,
    /// Nobody listened.
    pub refused: usize,
    /// Broken before the request was written.
    pub reset: usize,
    /// Written, and not a byte came back.
    pub lost: usize,
    /// Broken inside of the answer.
    pub truncated: usize,
    /// Another status than 200.
    pub wrong: usize,
    /// No answer in time.
    pub timeout: usize,
    /// Answers per worker.
    pub by_worker: BTreeMap<u64, usize>,
    /// Answers per generation of workers.
    pub by_generation: BTreeMap<u64, usize>,
    /// Requests that were begun after some other had been refused, and were answered all the same.
    pub ok_after_refused: usize,
    /// The first few that were not answered.
    pub examples: Vec<String>,
}

impl Tally {
    /// All requests.
    #[must_use]
    pub fn total(&self) -> usize {
        self.ok + self.refused + self.harmed()
    }

    /// Those for which a server owed an answer and gave none.
    #[must_use]
    pub fn harmed(&self) -> usize {
        self.reset + self.lost + self.truncated + self.wrong + self.timeout
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    tally: Tally,
    refused_at: Option<Instant>,
    stop: bool,
}

impl Load {
    /// This many clients, each with one connection after the other, one request on each.
    #[must_use]
    pub fn on(address: &str, clients: usize) -> Self {
        Self::mixed(address, clients, 0)
    }

    /// So many of these, and so many that keep their connection for as long as they are let.
    #[must_use]
    pub fn mixed(address: &str, one_shot: usize, kept_alive: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let clients = (0..one_shot + kept_alive)
            .map(|number| {
                let (shared, address) = (Arc::clone(&shared), address.to_owned());
                let mut kept = KeptAlive::to(&address);
                thread::spawn(move || {
                    if number < one_shot {
                        while shared.once(|| attempt_in_time(&address, "/")) {}
                    } else {
                        while shared.once(|| kept.attempt("/")) {}
                    }
                })
            })
            .collect();
        Self { shared, clients }
    }

    /// Blocks until this many more requests were answered.
    ///
    /// # Panics
    /// If they are not, for long.
    pub fn served(&self, more: usize) {
        let start = self.shared.lock().tally.ok;
        self.wait(|tally| tally.ok >= start + more);
    }

    /// Blocks until this many requests were refused.
    ///
    /// # Panics
    /// If they are not, for long.
    pub fn refused(&self, count: usize) {
        self.wait(|tally| tally.refused >= count);
    }

    /// Ends the load after the requests that are under way; how all of them ended.
    ///
    /// # Panics
    /// If a client panicked.
    #[must_use]
    pub fn stop(mut self) -> Tally {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        for client in self.clients.drain(..) {
            client.join().expect("a client panicked");
        }
        std::mem::take(&mut self.shared.lock().tally)
    }

    fn wait(&self, reached: impl Fn(&Tally) -> bool) {
        let guard = self.shared.lock();
        let (guard, waited) = self
            .shared
            .changed
            .wait_timeout_while(guard, crate::wait::PATIENCE, |state| !reached(&state.tally))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "the load waits in vain: {:?}", guard.tally);
    }
}

impl Drop for Load {
    /// A test that failed must not leave clients behind that keep its thread's machine busy.
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request; whether to go on.
    fn once(&self, ask: impl FnOnce() -> Outcome) -> bool {
        let began = Instant::now();
        let outcome = ask();
        let mut state = self.lock();
        state.count(began, outcome);
        self.changed.notify_all();
        if state.refused_at.is_some() && !state.stop {
            // Nobody listens: ask again soon, yet without burning a core. It is woken by the end of the load.
            let pause = self.changed.wait_timeout(state, Duration::from_millis(5));
            state = pause.unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.stop
    }
}

impl State {
    fn count(&mut self, began: Instant, outcome: Outcome) {
        let tally = &mut self.tally;
        if !matches!(outcome, Outcome::Refused) && !is_good(&outcome) && tally.examples.len() < 5 {
            tally.examples.push(format!("{outcome:?}"));
        }
        match outcome {
            Outcome::Answered(reply) if reply.status == 200 => {
                tally.ok += 1;
                *tally.by_worker.entry(reply.worker()).or_default() += 1;
                *tally.by_generation.entry(reply.number("generation").unwrap_or(0)).or_default() += 1;
                tally.ok_after_refused += usize::from(self.refused_at.is_some_and(|at| began > at));
            }
            Outcome::Answered(_) => tally.wrong += 1,
            Outcome::Refused => {
                tally.refused += 1;
                self.refused_at.get_or_insert_with(Instant::now);
            }
            Outcome::Reset => tally.reset += 1,
            Outcome::Lost(_) => tally.lost += 1,
            Outcome::Truncated(_) => tally.truncated += 1,
            Outcome::TimedOut => tally.timeout += 1,
        }
    }
}

fn is_good(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered(reply) if reply.status == 200)
}
