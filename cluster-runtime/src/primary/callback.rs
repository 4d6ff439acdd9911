//! User code in the primary: callbacks, timers, signals.
//!
//! Each runs on the loop's own thread, so nothing else happens meanwhile: one that takes long is named, and one
//! that panics is named and has no other effect.

use std::fmt;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::desk::Worker;
use super::lines::Line;
use super::own;
use crate::event::{Address, Exit, Signal};
use crate::ipc::channel::{self, Encoded};
use crate::reload::Reload;
use crate::report;
use crate::upgrade::Upgrade;

/// Longer than this, and the loop says whose fault it is that nobody was served.
const LONG: Duration = Duration::from_millis(100);

type OfWorker = Box<dyn FnMut(Worker) + Send>;
/// Says why it can't read the message; else takes it, and the descriptor if it wants one.
type OfMessage = Box<dyn FnMut(&Worker, &[u8], &mut Option<OwnedFd>) -> Result<(), String> + Send>;
/// The same; inside, the answer or the reason that there is none.
type OfQuestion = Box<dyn FnMut(&Worker, &[u8]) -> Result<Result<Encoded, String>, String> + Send>;

struct Timer {
    at: Instant,
    every: Option<Duration>,
    run: Box<dyn FnMut() + Send>,
}

/// The primary before its first fork, as a function given to [`Cluster::primary`](crate::Cluster::primary) meets
/// it: register callbacks, timers and signals here. Node: the code in `if (cluster.isPrimary)`.
///
/// All of it runs in the primary, on its only thread, between connections: keep it short. A callback that takes more than
/// 100 ms is reported, and one that panics is reported and has no other effect. A thread started here makes forking unsafe:
/// from then on workers are started by exec, see [`Spawn`](crate::Spawn).
///
/// A program that is started here inherits the signals that the primary blocks, and can't be ended by them: start it in a worker, or
/// unblock them in `CommandExt::pre_exec`.
///
/// Unclustered (`CLUSTER_WORKERS=0`) there is no primary: of all that is registered only
/// [`on_message`](Primary::on_message), [`on_message_with`](Primary::on_message_with) and [`on_ask`](Primary::on_ask) are
/// called, in the thread that sends or asks.
#[derive(Default)]
pub struct Primary {
    fork: Vec<OfWorker>,
    online: Vec<OfWorker>,
    listening: Vec<Box<dyn FnMut(Worker, Address) + Send>>,
    message: Vec<OfMessage>,
    question: Vec<OfQuestion>,
    output: Vec<Box<dyn FnMut(Worker, Line) + Send>>,
    disconnect: Vec<OfWorker>,
    exit: Vec<Box<dyn FnMut(Worker, Exit) + Send>>,
    reload: Vec<Box<dyn FnMut(Reload) + Send>>,
    upgrade: Vec<Box<dyn FnMut(Upgrade) + Send>>,
    signal: Vec<(Signal, Box<dyn FnMut() + Send>)>,
    timers: Vec<Timer>,
}

impl Primary {
    /// When a worker was forked: its pid and its slot are known. Node: `cluster.on('fork')`.
    pub fn on_fork(&mut self, callback: impl FnMut(Worker) + Send + 'static) {
        self.fork.push(Box::new(callback));
    }

    /// When a worker's code runs, which it says itself, as its first word. Node: `cluster.on('online')`.
    pub fn on_online(&mut self, callback: impl FnMut(Worker) + Send + 'static) {
        self.online.push(Box::new(callback));
    }

    /// When a worker takes connections; once for each address. Node: `cluster.on('listening')`.
    pub fn on_listening(&mut self, callback: impl FnMut(Worker, Address) + Send + 'static) {
        self.listening.push(Box::new(callback));
    }

    /// When a worker has sent a message that reads as an `M`. Several may be given, for several types: each gets
    /// what it can read, and what nobody can is reported. Node: `cluster.on('message')`.
    pub fn on_message<M: DeserializeOwned>(&mut self, mut callback: impl FnMut(Worker, M) + Send + 'static) {
        self.message.push(Box::new(move |worker, body, _| {
            let message = read::<M>(body)?;
            guard("on_message", || callback(worker.clone(), message));
            Ok(())
        }));
    }

    /// As [`on_message`](Primary::on_message), with the descriptor that came with the message, if one did: the first of
    /// these that can read the message gets it. It is the callback's own; where it is not wanted it is closed. Node: the
    /// second argument of `cluster.on('message')`.
    pub fn on_message_with<M: DeserializeOwned>(
        &mut self,
        mut callback: impl FnMut(Worker, M, Option<OwnedFd>) + Send + 'static,
    ) {
        self.message.push(Box::new(move |worker, body, fd| {
            let message = read::<M>(body)?;
            let fd = fd.take();
            guard("on_message_with", || callback(worker.clone(), message, fd));
            Ok(())
        }));
    }

    /// When a worker [asks](crate::ThisWorker::ask) a question that reads as a `Q`; what is returned is the answer.
    /// Several may be given, for several types: the first that can read a question answers it. Where none can, or the
    /// callback panics, or its answer can't be sent, the worker is told at once. Node has no word for it.
    pub fn on_ask<Q: DeserializeOwned, A: Serialize>(
        &mut self,
        mut callback: impl FnMut(Worker, Q) -> A + Send + 'static,
    ) {
        self.question.push(Box::new(move |worker, body| {
            let question = read::<Q>(body)?;
            let mut answer = Err("its callback on_ask panicked; the primary's log says more".to_owned());
            guard("on_ask", || {
                let said = callback(worker.clone(), question);
                answer = Encoded::new(&said).map_err(|error| format!("its answer: {error}"));
            });
            Ok(answer)
        }));
    }

    /// When a worker has printed a line, where [`output`](crate::Cluster::output) is `Tagged` or `Captured`. What a worker
    /// printed last comes before its `exit`; what a process that it started prints after that is lost. Node:
    /// `worker.process.stdout.on('data')`, `stderr`.
    pub fn on_output(&mut self, callback: impl FnMut(Worker, Line) + Send + 'static) {
        self.output.push(Box::new(callback));
    }

    /// When a worker's channel has closed, which mostly means that it is about to end. Node: `cluster.on('disconnect')`.
    pub fn on_disconnect(&mut self, callback: impl FnMut(Worker) + Send + 'static) {
        self.disconnect.push(Box::new(callback));
    }

    /// When a worker's process has ended and all that it said has been heard; before its place is filled again. Node:
    /// `cluster.on('exit')`.
    pub fn on_exit(&mut self, callback: impl FnMut(Worker, Exit) + Send + 'static) {
        self.exit.push(Box::new(callback));
    }

    /// When a reload has ended, well or not; once for each that began. Node has no word for it.
    pub fn on_reload(&mut self, callback: impl FnMut(Reload) + Send + 'static) {
        self.reload.push(Box::new(callback));
    }

    /// When an upgrade has ended, well or not; once for each that was asked for, in whichever program goes on. Node has no
    /// word for it.
    pub fn on_upgrade(&mut self, callback: impl FnMut(Upgrade) + Send + 'static) {
        self.upgrade.push(Box::new(callback));
    }

    /// When the primary gets a signal; before the cluster does what it does itself at SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1,
    /// SIGUSR2, SIGTTIN and SIGTTOU. What
    /// is sent to workers here arrives before they are told to finish. Any other signal has no effect but the callback.
    /// Node: `process.on('SIGTERM')`, which would replace that.
    ///
    /// # Panics
    /// For a signal that can't be waited for: SIGKILL, SIGSTOP, those of a fault such as SIGSEGV, and real-time ones.
    pub fn on_signal(&mut self, signal: Signal, callback: impl FnMut() + Send + 'static) {
        let deaf =
            [Signal::KILL, Signal::STOP, Signal::SEGV, Signal::BUS, Signal::FPE, Signal::ILL, Signal::TRAP];
        let deaf = deaf.contains(&signal) || signal.as_raw() > libc::SIGSYS;
        assert!(!deaf, "{signal} can't be waited for; choose another for on_signal");
        self.signal.push((signal, Box::new(callback)));
    }

    /// Once, after a time, counted from this call. Node: `setTimeout`.
    pub fn after(&mut self, time: Duration, callback: impl FnOnce() + Send + 'static) {
        let mut once = Some(callback);
        let run = Box::new(move || {
            if let Some(callback) = once.take() {
                callback();
            }
        });
        self.timers.push(Timer { at: Instant::now() + time, every: None, run });
    }

    /// Again and again; the first time after one period, of at least 1 ms. Periods that were missed are not made up for.
    /// Node: `setInterval`.
    pub fn every(&mut self, period: Duration, callback: impl FnMut() + Send + 'static) {
        let every = Some(period.max(Duration::from_millis(1)));
        self.timers.push(Timer { at: Instant::now() + period, every, run: Box::new(callback) });
    }

    pub(crate) fn forked(&mut self, worker: &Worker) {
        each(&mut self.fork, "on_fork", worker);
    }

    pub(crate) fn onlined(&mut self, worker: &Worker) {
        own::onlined(worker);
        each(&mut self.online, "on_online", worker);
    }

    pub(crate) fn disconnected(&mut self, worker: &Worker) {
        own::disconnected(worker);
        each(&mut self.disconnect, "on_disconnect", worker);
    }

    pub(crate) fn listened(&mut self, worker: &Worker, address: &Address) {
        own::listened(worker, address);
        for callback in &mut self.listening {
            guard("on_listening", || callback(worker.clone(), address.clone()));
        }
    }

    pub(crate) fn printed(&mut self, worker: &Worker, line: &Line) {
        for callback in &mut self.output {
            guard("on_output", || callback(worker.clone(), line.clone()));
        }
    }

    pub(crate) fn hears_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub(crate) fn exited(&mut self, worker: &Worker, exit: &Exit) {
        own::exited(worker, exit);
        for callback in &mut self.exit {
            guard("on_exit", || callback(worker.clone(), exit.clone()));
        }
    }

    pub(crate) fn reloaded(&mut self, outcome: &Reload) {
        for callback in &mut self.reload {
            guard("on_reload", || callback(outcome.clone()));
        }
    }

    pub(crate) fn upgraded(&mut self, outcome: &Upgrade) {
        for callback in &mut self.upgrade {
            guard("on_upgrade", || callback(outcome.clone()));
        }
    }

    pub(crate) fn messaged(&mut self, worker: &Worker, body: &[u8], mut fd: Option<OwnedFd>) {
        let mut hearing = own::messaged(worker, body);
        for callback in &mut self.message {
            hearing.note(callback(worker, body, &mut fd));
        }
        if let Some(why) = hearing.refused() {
            report::error(format_args!(
                "a message of worker {} is not of a type that on_message takes: {why}",
                worker.id()
            ));
        }
    }

    /// The answer to a question, or why there is none.
    pub(crate) fn asked(&mut self, worker: &Worker, body: &[u8]) -> Result<Encoded, String> {
        let mut refusals = Vec::new();
        for callback in &mut self.question {
            match callback(worker, body) {
                Ok(answer) => return answer,
                Err(reason) => refusals.push(reason),
            }
        }
        Err(match refusals.is_empty() {
            true => "the primary answers no questions: give it on_ask".into(),
            false => format!("it is not of a type that on_ask takes: {}", refusals.join("; ")),
        })
    }

    pub(crate) fn signalled(&mut self, signal: Signal) {
        for (_, callback) in self.signal.iter_mut().filter(|(wanted, _)| *wanted == signal) {
            guard("on_signal", callback);
        }
    }

    /// The signals that somebody waits for.
    pub(crate) fn signals(&self) -> impl Iterator<Item = Signal> {
        self.signal.iter().map(|(signal, _)| *signal)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.iter().map(|timer| timer.at).min()
    }

    pub(crate) fn run_timers(&mut self, now: Instant) {
        for timer in self.timers.iter_mut().filter(|timer| timer.at <= now) {
            guard("a timer", &mut timer.run);
            if let Some(every) = timer.every {
                // Those missed are not made up for.
                timer.at = now + every;
            }
        }
        self.timers.retain(|timer| timer.at > now);
    }
}

impl fmt::Debug for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primary").finish_non_exhaustive()
    }
}

/// Reads a message as an `M`, or says why it isn't one.
pub(super) fn read<M: DeserializeOwned>(body: &[u8]) -> Result<M, String> {
    // A `Deserialize` is user code too, over bytes that a worker chose: its panic must not end the loop.
    catch_unwind(AssertUnwindSafe(|| channel::decode::<M>(body)))
        .unwrap_or_else(|_| Err("its Deserialize panicked".to_owned()))
}

fn each(callbacks: &mut [OfWorker], name: &str, worker: &Worker) {
    for callback in callbacks {
        guard(name, || callback(worker.clone()));
    }
}

/// Runs user code in the loop's stead.
pub(super) fn guard(name: &str, callback: impl FnOnce()) {
    let start = Instant::now();
    if catch_unwind(AssertUnwindSafe(callback)).is_err() {
        report::error(format_args!("{name} panicked; the cluster goes on"));
    }
    let took = start.elapsed();
    if took > LONG {
        report::warn(format_args!(
            "{name} took {took:.0?}: nobody is accepted or watched while a callback runs; do long work in a worker"
        ));
    }
}
