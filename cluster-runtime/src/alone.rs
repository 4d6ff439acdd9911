//! `CLUSTER_WORKERS=0`: the body runs in the process that was started, and what it sends meets the callbacks there.

use std::cell::Cell;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::cluster::{Role, Setup, broken};
use crate::config::Settings;
use crate::error::{AskError, SendError};
use crate::ipc::channel::{Encoded, Reply};
use crate::load::Load;
use crate::primary::Preloads;
use crate::primary::callback::Primary;
use crate::primary::desk::{self, Alone, Answered, Worker};
use crate::report;
use crate::worker::{self, Said};

thread_local! {
    /// Unclustered: this thread runs code of the primary.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// How the primary's code, in this very process, reaches the worker.
const ALONE: Alone = Alone { deliver: worker::deliver_here, ask: ask_here, load: load_here };

fn load_here() -> Load {
    worker::worker().load()
}

/// There is no loop to look at a deadline and to run the callback: a thread does, for each question.
fn ask_here(question: Vec<u8>, within: Duration, answered: Answered) {
    let (tell, told) = mpsc::channel();
    let reply: Reply = Box::new(move |answer| tell.send(answer).map_err(|_| SendError::Closed));
    let thread = thread::Builder::new().name("cluster-ask".into()).spawn(move || {
        desk::open_unclustered(ALONE);
        answered(match told.recv_timeout(within) {
            Ok(answer) => answer.map(Encoded::into_bytes).map_err(AskError::Refused),
            Err(RecvTimeoutError::Timeout) => Err(AskError::TimedOut { within }),
            Err(RecvTimeoutError::Disconnected) => Err(AskError::Closed),
        });
    });
    match thread {
        Ok(_) => worker::question_here(question, reply),
        Err(error) => report::error(format_args!("a thread that waits for an answer: {error}")),
    }
}

/// The body runs in this process; what it sends meets the callbacks here, on the thread that sends. There are no
/// events to be told of, since there is no primary to tell them, and no timers.
pub(crate) fn unclustered(
    settings: Settings,
    callbacks: Primary,
    setup: Option<Setup>,
    preloads: Option<Preloads>,
) -> Role {
    let callbacks = Arc::new(Mutex::new(callbacks));
    let hearers = Arc::clone(&callbacks);
    let receive = Box::new(move |said: Said<'_>| {
        // Whatever thread sends is the primary's for as long as the callback runs, and may look up its workers.
        desk::open_unclustered(ALONE);
        if INSIDE.replace(true) {
            // By a callback, or by the primary's own code: it would wait for itself.
            report::error(format_args!(
                "a message to the primary is dropped: it was sent from within the primary"
            ));
            return Err("it was asked from within the primary".to_owned());
        }
        let mut callbacks = hearers.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = Worker::unclustered(ALONE);
        let answer = match said {
            Said::Message(body, fd) => {
                callbacks.messaged(&worker, body, fd);
                Ok(Vec::new())
            }
            Said::Question(body) => callbacks.asked(&worker, body).map(Encoded::into_bytes),
        };
        INSIDE.set(false);
        answer
    });
    // First of all: what the primary's code says to the worker is to find one.
    let worker = match worker::begin_unclustered(settings, receive) {
        Ok(worker) => worker,
        Err(error) => return Role::Primary(broken(&error)),
    };
    desk::open_unclustered(ALONE);
    if let Some(setup) = setup {
        INSIDE.set(true);
        setup(&mut callbacks.lock().unwrap_or_else(PoisonError::into_inner));
        INSIDE.set(false);
    }
    if let Some(preloads) = preloads
        && let Err(error) = preloads()()
    {
        return Role::Primary(broken(&format_args!("preload failed: {error}")));
    }
    Role::Worker(worker)
}
