//! A trial under way: a thread for each client.

use std::io::{self, PipeWriter};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::client::Client;
use crate::content::Random;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::record::Class;
use crate::verdict::Verdict;

/// How long a trial waits for its own clients' requests. Longer than a drain mostly takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Clients at work. Dropped, it tells them to end and waits for nobody.
#[derive(Debug)]
pub struct Trial {
    ledger: Arc<Ledger>,
    clients: Vec<JoinHandle<()>>,
    /// Nothing is ever written: its end wakes every client that pauses.
    stop: Option<PipeWriter>,
}

impl Plan {
    /// Sends the clients to work.
    ///
    /// # Errors
    /// When this machine has no room for them: no descriptor, no thread.
    pub fn begin(self) -> io::Result<Trial> {
        let plan = Arc::new(self);
        let ledger = Arc::new(Ledger::new(&plan));
        let (reader, writer) = io::pipe()?;
        let reader = Arc::new(reader);
        let mut seeds = Random::new(plan.seed);
        let mut trial = Trial { ledger, clients: Vec::new(), stop: Some(writer) };
        let all =
            plan.addresses.iter().flat_map(|address| plan.crews.iter().map(move |crew| (address, crew)));
        for (row, (address, crew)) in all.enumerate() {
            for number in 1..=crew.clients {
                let mut client = Client {
                    plan: Arc::clone(&plan),
                    crew: crew.clone(),
                    address: address.clone(),
                    row,
                    ledger: Arc::clone(&trial.ledger),
                    stop: Arc::clone(&reader),
                    random: Random::new(seeds.number()),
                    last_id: (trial.clients.len() as u64 + 1) << 32,
                    connection: 0,
                };
                let name = format!("{} {number}", crew.kind.name());
                trial.clients.push(thread::Builder::new().name(name).spawn(move || {
                    if let Err(error) = client.work() {
                        client.ledger.fail(row, &error);
                    }
                })?);
            }
        }
        Ok(trial)
    }
}

impl Trial {
    /// Blocks until each row has this many more requests in this class; `false` if that does not happen within half a
    /// minute.
    #[must_use]
    pub fn each_has(&self, class: Class, more: u64) -> bool {
        self.ledger.each_has(class, more, PATIENCE)
    }

    /// What is to be said so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.ledger.verdict()
    }

    /// Ends the trial after the requests that are under way.
    ///
    /// # Panics
    /// If a client panicked.
    #[must_use]
    pub fn stop(mut self) -> Verdict {
        self.dismiss();
        for client in self.clients.drain(..) {
            client.join().expect("a client panicked");
        }
        self.ledger.verdict()
    }

    fn dismiss(&mut self) {
        if self.stop.take().is_some() {
            self.ledger.end();
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.dismiss();
    }
}
