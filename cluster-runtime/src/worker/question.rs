//! Questions that the primary asks this worker, and their answers.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedReceiver;

use super::inbox::{Inbox, Letter};
use crate::error::SendError;
use crate::ipc::channel::{Encoded, Reply, decode};

/// The questions of type `Q` that the primary asks this worker, in order.
///
/// What was asked before the first of these was made is kept for it. Where there are several, for several types, the first
/// that can read a question has it to answer; what none can read is refused. 64 MiB may wait for them; past that the worker
/// reads no more.
pub struct Questions<Q> {
    letters: UnboundedReceiver<Arc<Letter>>,
    of: PhantomData<fn() -> Q>,
}

impl<Q: DeserializeOwned> Questions<Q> {
    pub(super) fn of(inbox: &Inbox) -> Questions<Q> {
        Questions { letters: inbox.subscribe(), of: PhantomData }
    }

    /// The next question; `None` when this worker is to finish, or the primary is gone, and all have been read. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Question<Q>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Questions::recv), for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Question<Q>>> {
        loop {
            let Some(letter) = ready!(self.letters.poll_recv(cx)) else { return Poll::Ready(None) };
            if let Some(question) = read(&letter) {
                return Poll::Ready(Some(question));
            }
        }
    }

    /// As [`recv`](Questions::recv), for a `main` that is not async: waits on this thread.
    ///
    /// # Panics
    /// Inside of an async runtime.
    pub fn blocking_recv(&mut self) -> Option<Question<Q>> {
        loop {
            if let Some(question) = read(&*self.letters.blocking_recv()?) {
                return Some(question);
            }
        }
    }
}

/// A question of another type is another reader's, if there is one: with the last of them it is refused.
fn read<Q: DeserializeOwned>(letter: &Letter) -> Option<Question<Q>> {
    let message = decode(&letter.bytes).ok()?;
    let reply = Answering { reply: Some(letter.take_reply()?) };
    Some(Question { message, answering: reply })
}

impl<Q> fmt::Debug for Questions<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions").finish_non_exhaustive()
    }
}

/// A question of the primary's. Where it is dropped without an answer, the primary is told that it was refused.
#[derive(Debug)]
#[must_use = "whoever asked waits for the answer"]
pub struct Question<Q> {
    message: Q,
    answering: Answering,
}

impl<Q> Question<Q> {
    /// What is asked.
    pub fn message(&self) -> &Q {
        &self.message
    }

    /// What is asked, and apart from it the right to answer: for handing the two to different places.
    pub fn into_parts(self) -> (Q, Answering) {
        (self.message, self.answering)
    }

    /// As [`Answering::answer`].
    ///
    /// # Errors
    /// See there.
    pub fn answer<A: Serialize>(self, answer: A) -> Result<(), SendError> {
        self.answering.answer(answer)
    }
}

/// The right to answer a question, once. Where it is dropped instead, the primary is told that it was refused.
#[must_use = "whoever asked waits for the answer"]
pub struct Answering {
    reply: Option<Reply>,
}

impl Answering {
    /// Answers. Never waits. Whether the primary still wants to know is its own affair: an answer that comes too late is
    /// ignored there.
    ///
    /// # Errors
    /// As [`ThisWorker::send`](crate::ThisWorker::send); the primary is told then that the question was refused.
    pub fn answer<A: Serialize>(mut self, answer: A) -> Result<(), SendError> {
        let encoded = Encoded::new(&answer);
        let Some(reply) = self.reply.take() else { return Ok(()) };
        match encoded {
            Ok(answer) => reply(Ok(answer)),
            Err(error) => {
                reply(Err(format!("its answer: {error}")))?;
                Err(error)
            }
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            // The reason is all there is to say; whether it arrives is the asker's concern.
            let _ = reply(Err("whoever read it in the worker dropped it".into()));
        }
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").finish_non_exhaustive()
    }
}
