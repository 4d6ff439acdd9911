//! Questions of the primary that wait for a worker's answer.
//!
//! Kept apart from the loop, by thread, as the channels are: callbacks ask while the loop waits for them to return. Every
//! question ends, by its answer, its deadline, the worker's end or its asker, and its callback is run once at most, always
//! by the loop.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::callback::guard;
use super::desk::Worker;
use super::hub;
use super::slot::Id;
use crate::error::AskError;
use crate::ipc::channel::{Encoded, decode};
use crate::ipc::frame::{Head, Kind};

/// Questions to one worker that may wait for their answers.
pub(crate) const MOST: usize = 65_536;

thread_local! {
    static ASKED: RefCell<Questions> = RefCell::default();
}

type Callback = Box<dyn FnOnce(Result<Vec<u8>, AskError>) + Send>;

#[derive(Default)]
struct Questions {
    last: u64,
    open: BTreeMap<Id, BTreeMap<u64, Open>>,
    deadlines: BTreeSet<(Instant, Id, u64)>,
    /// Could not be asked: the callback hears of it as of any other end, from the loop.
    unasked: VecDeque<(Once, AskError)>,
}

struct Open {
    callback: Once,
    /// Not where it would be further away than a clock can tell.
    until: Option<Instant>,
    within: Duration,
}

/// A callback that is run once, unless somebody takes it away before.
#[derive(Clone)]
struct Once(Arc<Mutex<Option<Callback>>>);

impl Once {
    fn take(&self) -> Option<Callback> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn run(&self, answer: Result<Vec<u8>, AskError>) {
        if let Some(callback) = self.take() {
            guard("the callback of ask", || callback(answer));
        }
    }
}

/// A question that was asked with [`Worker::ask`]. Dropping it changes nothing; [`cancel`](Asked::cancel) does.
pub struct Asked {
    id: Id,
    number: u64,
    callback: Once,
}

impl Asked {
    /// Drops the callback, which is not run then. The worker is not told; its answer is ignored.
    pub fn cancel(self) {
        drop(self.callback.take());
        // On another thread than the primary's, unclustered, there is nothing to find.
        ASKED.with_borrow_mut(|asked| asked.take(self.id, self.number));
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("worker", &self.id.0).finish_non_exhaustive()
    }
}

impl Worker {
    /// Asks it something, and has `callback` called with the answer. Never waits: the callback runs in the loop, later,
    /// as any other, also where the question can't even be sent. In the worker, whoever reads
    /// [`questions`](crate::ThisWorker::questions) of this type answers. Node has no word for it.
    ///
    /// The callback is called exactly once, unless the question is [cancelled](Asked::cancel) or the cluster ends before.
    /// Unclustered it runs on a thread of its own.
    ///
    /// # Errors
    /// The callback gets an [`AskError`]: at the latest when `within` is over, and before the worker's `disconnect` and
    /// `exit` where it ends first.
    pub fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        question: Q,
        within: Duration,
        callback: impl FnOnce(Result<A, AskError>) + Send + 'static,
    ) -> Asked {
        let callback: Callback = Box::new(move |answer| {
            callback(answer.and_then(|answer| decode(&answer).map_err(AskError::Decode)));
        });
        let callback = Once(Arc::new(Mutex::new(Some(callback))));
        let id = Id(self.id());
        let number = match (Encoded::new(&question), self.alone()) {
            (Err(error), _) => unasked(&callback, AskError::Send(error)),
            (Ok(question), None) => ask(id, &question, within, &callback),
            (Ok(question), Some(alone)) => {
                let callback = callback.clone();
                (alone.ask)(question.into_bytes(), within, Box::new(move |answer| callback.run(answer)));
                0
            }
        };
        Asked { id, number, callback }
    }
}

/// Yields its number.
fn ask(id: Id, question: &Encoded, within: Duration, callback: &Once) -> u64 {
    let number = ASKED.with_borrow_mut(|asked| asked.open(id, within, callback));
    let Some(number) = number else {
        return unasked(callback, AskError::TooMany { limit: MOST });
    };
    if let Err(refused) = hub::post(id, Head::of(Kind::Ask, number), question.as_bytes(), None) {
        ASKED.with_borrow_mut(|asked| asked.take(id, number));
        return unasked(callback, AskError::Send(refused.error));
    }
    number
}

fn unasked(callback: &Once, error: AskError) -> u64 {
    ASKED.with_borrow_mut(|asked| asked.unasked.push_back((callback.clone(), error)));
    0
}

impl Questions {
    fn open(&mut self, id: Id, within: Duration, callback: &Once) -> Option<u64> {
        let open = self.open.entry(id).or_default();
        if open.len() >= MOST {
            return None;
        }
        self.last += 1;
        let until = Instant::now().checked_add(within);
        self.deadlines.extend(until.map(|until| (until, id, self.last)));
        open.insert(self.last, Open { callback: callback.clone(), until, within });
        Some(self.last)
    }

    fn take(&mut self, id: Id, number: u64) -> Option<Open> {
        let open = self.open.get_mut(&id)?;
        let question = open.remove(&number)?;
        if open.is_empty() {
            self.open.remove(&id);
        }
        if let Some(until) = question.until {
            self.deadlines.remove(&(until, id, number));
        }
        Some(question)
    }
}

/// A worker has answered. What was not asked of it, or no longer waits, is ignored.
pub(super) fn answered(id: Id, number: u64, answer: Result<Vec<u8>, String>) {
    if let Some(open) = ASKED.with_borrow_mut(|asked| asked.take(id, number)) {
        open.callback.run(answer.map_err(AskError::Refused));
    }
}

/// A worker's channel has ended: it answers nothing more.
pub(super) fn closed(id: Id) {
    let open = ASKED.with_borrow_mut(|asked| {
        let open = asked.open.remove(&id).unwrap_or_default();
        asked.deadlines.retain(|(_, of, _)| *of != id);
        open
    });
    for question in open.into_values() {
        question.callback.run(Err(AskError::Closed));
    }
}

/// Nobody's answer is waited for any more: this image is about to be another.
pub(super) fn close_all() {
    let asked = ASKED.with_borrow(|asked| asked.open.keys().copied().collect::<Vec<_>>());
    asked.into_iter().for_each(closed);
    for (callback, error) in ASKED.with_borrow_mut(|asked| std::mem::take(&mut asked.unasked)) {
        callback.run(Err(error));
    }
}

/// The number of the last question.
pub(super) fn last() -> u64 {
    ASKED.with_borrow(|asked| asked.last)
}

/// In a new image: an answer that comes late is not to be taken for another's.
pub(super) fn go_on_after(last: u64) {
    ASKED.with_borrow_mut(|asked| asked.last = last);
}

/// When something must be done.
pub(super) fn deadline() -> Option<Instant> {
    ASKED.with_borrow(|asked| match asked.unasked.is_empty() {
        true => asked.deadlines.first().map(|(until, ..)| *until),
        false => Some(Instant::now()),
    })
}

/// Ends the questions whose time is over, and those that were never asked.
pub(super) fn tick(now: Instant) {
    // Those that are asked by the callbacks of these have their turn in the next one.
    for (callback, error) in ASKED.with_borrow_mut(|asked| std::mem::take(&mut asked.unasked)) {
        callback.run(Err(error));
    }
    let next = || {
        ASKED.with_borrow_mut(|asked| {
            let (_, id, number) = *asked.deadlines.first().filter(|(until, ..)| *until <= now)?;
            asked.take(id, number)
        })
    };
    while let Some(open) = next() {
        open.callback.run(Err(AskError::TimedOut { within: open.within }));
    }
}

/// The cluster has ended: nobody is left to answer.
pub(super) fn end() {
    drop(ASKED.take());
}

/// In a child: what the callbacks captured is the primary's to drop.
pub(super) fn forget() {
    std::mem::forget(ASKED.take());
}

#[cfg(test)]
#[path = "ask_tests.rs"]
mod tests;
