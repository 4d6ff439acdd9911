//! A worker's own callbacks in the primary, beside those for all workers: `worker.on_exit(…)`.
//!
//! Kept by id, and not in the handles: a birth leaves copies of handles on the child's stack, and with the last
//! of them the child would drop what the callbacks captured, which is the primary's to drop.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::callback::{guard, read};
use super::desk::Worker;
use super::slot::Id;
use crate::event::{Address, Exit};

thread_local! {
    static OWN: RefCell<BTreeMap<Id, Own>> = const { RefCell::new(BTreeMap::new()) };
}

#[derive(Default)]
struct Own {
    online: Vec<Box<dyn FnMut(Worker)>>,
    listening: Vec<Box<dyn FnMut(Worker, Address)>>,
    message: Vec<OfMessage>,
    disconnect: Vec<Box<dyn FnMut(Worker)>>,
    exit: Vec<Box<dyn FnMut(Worker, Exit)>>,
}

type OfMessage = Box<dyn FnMut(&Worker, &[u8]) -> Result<(), String>>;

/// What became of a message, over all callbacks that may take it.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    read: bool,
    refusals: Vec<String>,
}

impl Hearing {
    pub(super) fn note(&mut self, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.read = true,
            Err(reason) => self.refusals.push(reason),
        }
    }

    /// Why nobody could read it, though somebody tried.
    pub(super) fn refused(self) -> Option<String> {
        (!self.read && !self.refusals.is_empty()).then(|| self.refusals.join("; "))
    }
}

/// Callbacks for this worker alone, called before those of [`Primary`](crate::Primary) and under the same rules. They
/// may be given at any time, also from within one of them, which is then called from the next event on. They go with
/// the worker, after its `exit`; of one that is dead, nothing will be heard any more. Unclustered, none is ever called.
impl Worker {
    /// See [`Primary::on_online`](crate::Primary::on_online). Node: `worker.on('online')`.
    pub fn on_online(&self, callback: impl FnMut(Worker) + 'static) {
        self.register(|own| own.online.push(Box::new(callback)));
    }

    /// See [`Primary::on_listening`](crate::Primary::on_listening). Node: `worker.on('listening')`.
    pub fn on_listening(&self, callback: impl FnMut(Worker, Address) + 'static) {
        self.register(|own| own.listening.push(Box::new(callback)));
    }

    /// See [`Primary::on_message`](crate::Primary::on_message): what reads as an `M` here is given to those for all
    /// workers, too. What nobody can read is reported, once. Node: `worker.on('message')`.
    pub fn on_message<M: DeserializeOwned>(&self, mut callback: impl FnMut(Worker, M) + 'static) {
        self.register(|own| {
            own.message.push(Box::new(move |worker, body| {
                let message = read(body)?;
                guard("Worker::on_message", || callback(worker.clone(), message));
                Ok(())
            }));
        });
    }

    /// See [`Primary::on_disconnect`](crate::Primary::on_disconnect). Node: `worker.on('disconnect')`.
    pub fn on_disconnect(&self, callback: impl FnMut(Worker) + 'static) {
        self.register(|own| own.disconnect.push(Box::new(callback)));
    }

    /// See [`Primary::on_exit`](crate::Primary::on_exit). Node: `worker.on('exit')`.
    pub fn on_exit(&self, callback: impl FnMut(Worker, Exit) + 'static) {
        self.register(|own| own.exit.push(Box::new(callback)));
    }

    fn register(&self, add: impl FnOnce(&mut Own)) {
        // Kept for a worker that is dead, it would be kept for ever.
        if !self.is_dead() {
            OWN.with_borrow_mut(|all| add(all.entry(self.key()).or_default()));
        }
    }
}

pub(super) fn onlined(worker: &Worker) {
    each(worker, "Worker::on_online", |own| &mut own.online, |callback| callback(worker.clone()));
}

pub(super) fn listened(worker: &Worker, address: &Address) {
    let call = |callback: &mut Box<dyn FnMut(Worker, Address)>| callback(worker.clone(), address.clone());
    each(worker, "Worker::on_listening", |own| &mut own.listening, call);
}

pub(super) fn messaged(worker: &Worker, body: &[u8]) -> Hearing {
    let mut hearing = Hearing::default();
    // Each guards itself, once it has read the message.
    with(worker, |own| &mut own.message, |callback: &mut OfMessage| hearing.note(callback(worker, body)));
    hearing
}

pub(super) fn disconnected(worker: &Worker) {
    each(worker, "Worker::on_disconnect", |own| &mut own.disconnect, |callback| callback(worker.clone()));
}

/// The last event: its callbacks go.
pub(super) fn exited(worker: &Worker, exit: &Exit) {
    each(worker, "Worker::on_exit", |own| &mut own.exit, |callback| callback(worker.clone(), exit.clone()));
    forget(worker.key());
}

/// Of a worker that is gone, or will never be.
pub(super) fn forget(id: Id) {
    end(OWN.with_borrow_mut(|all| all.remove(&id)));
}

/// The cluster has ended.
pub(super) fn clear() {
    end(OWN.take());
}

/// In a child: neither called any more nor dropped.
pub(super) fn leave() {
    std::mem::forget(OWN.take());
}

/// Drops what callbacks have captured: the user's code, too.
fn end<T>(callbacks: T) {
    guard("what a worker's callbacks captured", || drop(callbacks));
}

fn each<C>(worker: &Worker, name: &str, event: fn(&mut Own) -> &mut Vec<C>, mut call: impl FnMut(&mut C)) {
    with(worker, event, |callback| guard(name, || call(callback)));
}

/// Taken out while they run, since they may register others.
fn with<C>(worker: &Worker, event: fn(&mut Own) -> &mut Vec<C>, call: impl FnMut(&mut C)) {
    let swap = |callbacks| {
        let of = |all: &mut BTreeMap<Id, Own>| {
            Some(std::mem::replace(event(all.get_mut(&worker.key())?), callbacks))
        };
        OWN.with_borrow_mut(of).unwrap_or_default()
    };
    let mut callbacks: Vec<C> = swap(Vec::new());
    if callbacks.is_empty() {
        return;
    }
    callbacks.iter_mut().for_each(call);
    let added = swap(callbacks);
    OWN.with_borrow_mut(|all| all.get_mut(&worker.key()).map(|own| event(own).extend(added)));
}
