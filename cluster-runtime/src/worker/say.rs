//! What a worker says: to the primary, and by way of it to other workers.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::link::Link;
use super::{Said, ThisWorker, To, here};
use crate::error::{AskError, RelayError, SendError, SendWithError};
use crate::ipc::channel::{Encoded, Refused, decode};
use crate::ipc::frame::{ALL, Head, Kind};
use crate::ipc::message::Untold;
use crate::report;

impl ThisWorker {
    /// Sends the primary a message, which arrives there at [`on_message`](crate::Primary::on_message), in order. Never
    /// waits: what the socket does not take is written later. An end by `main`'s return, by a panic of it or by
    /// [`std::process::exit`] waits for it, for 5 s at most. Node: `process.send`.
    ///
    /// Unclustered, the callback runs here and now, on this thread.
    ///
    /// # Errors
    /// [`SendError::Closed`] when the primary is gone, [`SendError::Full`] when it does not read,
    /// [`SendError::TooLarge`] and [`SendError::Encode`] when this message can't be sent at all. Nothing was sent then.
    pub fn send<M: Serialize>(&self, message: M) -> Result<(), SendError> {
        let message = Encoded::new(&message)?;
        match &here().to {
            To::Primary(link) => {
                link.post(Head::USER, message.as_bytes(), None).map_err(|refused| refused.error)
            }
            To::Unclustered(callbacks) => {
                // There is no answer to a message, and its refusal has been reported.
                let _ = callbacks(Said::Message(message.as_bytes(), None));
                Ok(())
            }
        }
    }

    /// As [`send`](ThisWorker::send), with a descriptor: a file, a pipe, a connection. It arrives with exactly this
    /// message, at [`on_message_with`](crate::Primary::on_message_with), and is the primary's from then on; this process
    /// keeps nothing of it. Node: `process.send(message, handle)`.
    ///
    /// ```compile_fail,E0382
    /// # fn twice(worker: cluster::ThisWorker, socket: std::net::TcpStream) {
    /// worker.send_with("serve this", socket);
    /// worker.send_with("and again", socket); // it is no longer here: use of a moved value
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](ThisWorker::send), and [`SendError::Full`] when 64 descriptors wait to be written; the error gives the
    /// descriptor back.
    pub fn send_with<M: Serialize>(&self, message: M, fd: impl Into<OwnedFd>) -> Result<(), SendWithError> {
        let fd = fd.into();
        let message = match Encoded::new(&message) {
            Ok(message) => message,
            Err(reason) => return Err(SendWithError::new(reason, fd)),
        };
        match &here().to {
            To::Primary(link) => match link.post(Head::USER, message.as_bytes(), Some(fd)) {
                Err(Refused { error, fd: Some(fd) }) => Err(SendWithError::new(error, fd)),
                // Its descriptor comes back with each refusal.
                Ok(()) | Err(Refused { fd: None, .. }) => Ok(()),
            },
            To::Unclustered(callbacks) => {
                // There is no answer to a message, and its refusal has been reported.
                let _ = callbacks(Said::Message(message.as_bytes(), Some(fd)));
                Ok(())
            }
        }
    }

    /// Asks the primary something; there, [`on_ask`](crate::Primary::on_ask) answers. The question is sent when the future
    /// is first polled, on any runtime with tokio's time. Dropping the future takes the question back: an answer that
    /// comes later is ignored. Node has no word for it.
    ///
    /// ```no_run
    /// # async fn ask(worker: cluster::ThisWorker) -> Result<(), cluster::AskError> {
    /// let port: u16 = worker.ask("which port?", std::time::Duration::from_secs(1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AskError::TimedOut`] when `within` is over, [`AskError::Refused`] at once where nobody answers questions of this
    /// type, or whoever does panics, [`AskError::Closed`] when the primary is gone; see there for the others.
    pub fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        question: Q,
        within: Duration,
    ) -> impl Future<Output = Result<A, AskError>> + Send + use<Q, A> {
        // Here and now, so that the future holds nothing of the question's.
        let question = Encoded::new(&question).map_err(AskError::Send);
        async move {
            let question = question?;
            let answer = match &here().to {
                To::Primary(link) => ask(link, &question, within).await?,
                To::Unclustered(callbacks) => {
                    callbacks(Said::Question(question.as_bytes())).map_err(AskError::Refused)?
                }
            };
            decode(&answer).map_err(AskError::Decode)
        }
    }

    /// Sends a message to all other workers, by way of the primary, which passes it on unread; it arrives at
    /// [`messages`](ThisWorker::messages). Never waits; whoever wants to know whether all got it awaits what is returned.
    /// Unclustered there are no others. Node has no word for it.
    ///
    /// # Errors
    /// As [`send`](ThisWorker::send), and [`SendError::Full`] where 65 536 such messages have not been passed on yet.
    pub fn broadcast<M: Serialize>(&self, message: M) -> Result<Relayed, SendError> {
        relay(ALL, message)
    }

    /// Sends a message to the worker in this slot, by way of the primary, which passes it on unread; it arrives at
    /// [`messages`](ThisWorker::messages) there. Never waits; whoever wants to know whether it was passed on awaits what is
    /// returned. Unclustered slot 0 is this process, and nobody fills another. Node has no word for it.
    ///
    /// # Errors
    /// As [`broadcast`](ThisWorker::broadcast). That nobody fills the slot, or whoever does reads nothing, is known to the
    /// primary only: see [`Relayed`].
    pub fn send_to<M: Serialize>(&self, slot: usize, message: M) -> Result<Relayed, SendError> {
        // No slot has a number so high, so the primary finds nobody there.
        relay(u16::try_from(slot).unwrap_or(ALL).min(ALL - 1), message)
    }

    /// Waits until the kernel has taken all that this worker has sent before this call: for whoever was told
    /// [`SendError::Full`], or wants to know that a message is on its way. Cancel-safe. Node: `send`'s callback.
    ///
    /// # Errors
    /// [`SendError::Closed`] when the primary is gone, and has not read everything.
    pub async fn flushed(&self) -> Result<(), SendError> {
        match &here().to {
            To::Primary(link) => link.flushed().await,
            To::Unclustered(_) => Ok(()),
        }
    }

    /// How many bytes of what was sent wait here, since the primary does not read as fast; past 32 MiB,
    /// [`send`](ThisWorker::send) refuses more. Node: what `send` returning `false` is about.
    pub fn backlog(&self) -> usize {
        match &here().to {
            To::Primary(link) => link.backlog(),
            To::Unclustered(_) => 0,
        }
    }
}

async fn ask(link: &Link, question: &Encoded, within: Duration) -> Result<Vec<u8>, AskError> {
    let (number, answer) = link.ask(|number| Head::of(Kind::Ask, number), question.as_bytes())?;
    let _asking = Asking { link, number };
    match tokio::time::timeout(within, answer).await {
        Ok(Ok(answer)) => answer.map_err(AskError::Refused),
        Ok(Err(_)) => Err(AskError::Closed),
        Err(_) => Err(AskError::TimedOut { within }),
    }
}

/// Gives the question's number back, however its asker goes.
struct Asking<'a> {
    link: &'a Link,
    number: u64,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.link.forget(self.number);
    }
}

fn relay<M: Serialize>(to: u16, message: M) -> Result<Relayed, SendError> {
    let message = Encoded::new(&message)?;
    let here = here();
    match &here.to {
        To::Primary(link) => match link.ask(|number| Head::relay(to, number), message.as_bytes()) {
            Ok((_, word)) => Ok(Relayed(Word::Awaited(word))),
            Err(AskError::Send(error)) => Err(error),
            // No other error comes before there is an answer.
            Err(_) => Err(SendError::Full),
        },
        To::Unclustered(_) => Ok(Relayed(Word::Here(match usize::from(to) {
            0 => {
                here.messages.deliver(message.into_bytes(), None, None);
                Ok(())
            }
            _ if to == ALL => Ok(()),
            slot => Err(RelayError::Lost(vec![(slot, SendError::Closed)])),
        }))),
    }
}

/// A message on its way to other workers. As a future it tells whether the primary has passed it on, which does not mean that
/// it was read. Nothing needs to be done with it: where nobody waits, a loss is a warning in this worker's log.
#[derive(Debug)]
pub struct Relayed(Word);

#[derive(Debug)]
enum Word {
    Awaited(oneshot::Receiver<Result<Vec<u8>, String>>),
    Here(Result<(), RelayError>),
}

impl Drop for Relayed {
    fn drop(&mut self) {
        if let Word::Awaited(word) = &mut self.0 {
            // Closed first: what comes later is the link's to tell of.
            word.close();
            if let Some(lost) = word.try_recv().ok().as_ref().and_then(lost) {
                report::warn(format_args!("{lost}"));
            }
        }
    }
}

impl Future for Relayed {
    type Output = Result<(), RelayError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        let word = match &mut self.0 {
            Word::Here(word) => word.clone(),
            Word::Awaited(word) => match ready!(Pin::new(word).poll(cx)) {
                Ok(told) => lost(&told).map_or(Ok(()), Err),
                Err(_) => Err(RelayError::Closed),
            },
        };
        // Polled again, it says the same.
        self.0 = Word::Here(word.clone());
        Poll::Ready(word)
    }
}

/// What the primary says of a message: whom it could not pass it on to, if anybody.
pub(super) fn lost(told: &Result<Vec<u8>, String>) -> Option<RelayError> {
    let body = told.as_ref().ok().filter(|body| !body.is_empty())?;
    let lost: Vec<Untold> = decode(body).unwrap_or_default();
    let reason = |untold: &Untold| if untold.full { SendError::Full } else { SendError::Closed };
    Some(RelayError::Lost(lost.iter().map(|untold| (untold.slot, reason(untold))).collect()))
}
