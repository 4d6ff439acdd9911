//! Messages and questions from the primary, until somebody reads them.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::ipc::channel::{self, Reply};
use crate::report;

/// Past this many bytes nothing more is read from the channel, and the primary is told that it is full.
const LIMIT: usize = 64 * 1024 * 1024;

/// What each message counts for beyond its bytes, and what a descriptor does: of small ones there may not be any number
/// either.
const EACH: usize = 128;
const EACH_FD: usize = 64 * 1024;

/// Where messages wait. Bounded by whoever fills it: see [`Inbox::is_full`].
#[derive(Debug)]
pub(crate) struct Inbox {
    readers: Mutex<Readers>,
    held: Arc<Held>,
    /// What makes a reader of it.
    read_by: &'static str,
}

#[derive(Debug)]
struct Readers {
    /// Each gets everything.
    queues: Vec<UnboundedSender<Arc<Letter>>>,
    /// Kept for the first of them.
    before: VecDeque<Arc<Letter>>,
    dropped: bool,
    ended: bool,
}

struct Held {
    bytes: AtomicUsize,
    /// Told when there is room again.
    room: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

/// A message or a question; its room is given back when its last reader is done with it.
pub(super) struct Letter {
    pub(super) bytes: Vec<u8>,
    /// For the first who wants it; else closed with the letter.
    fd: Mutex<Option<OwnedFd>>,
    /// Of a question, for the first who can read it.
    reply: Mutex<Option<Reply>>,
    weight: usize,
    held: Arc<Held>,
}

impl Letter {
    pub(super) fn take_fd(&self) -> Option<OwnedFd> {
        self.fd.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn take_reply(&self) -> Option<Reply> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Drop for Letter {
    fn drop(&mut self) {
        let before = self.held.bytes.fetch_sub(self.weight, Ordering::Relaxed);
        if before >= LIMIT && before - self.weight < LIMIT {
            (self.held.room)();
        }
        if let Some(reply) = self.take_reply() {
            // The reason is all there is to say; whether it arrives is the asker's concern.
            let _ = reply(Err("nobody in the worker reads questions of this type".into()));
        }
    }
}

impl Inbox {
    /// `read_by` makes a reader of it; `room` is told when it was full and is no longer.
    pub(crate) fn new(read_by: &'static str, room: impl Fn() + Send + Sync + 'static) -> Inbox {
        let readers = Readers { queues: Vec::new(), before: VecDeque::new(), dropped: false, ended: false };
        let held = Arc::new(Held { bytes: AtomicUsize::new(0), room: Box::new(room) });
        Inbox { readers: Mutex::new(readers), held, read_by }
    }

    pub(crate) fn deliver(&self, bytes: Vec<u8>, fd: Option<OwnedFd>, reply: Option<Reply>) {
        let weight = EACH + bytes.len() + if fd.is_some() { EACH_FD } else { 0 };
        self.held.bytes.fetch_add(weight, Ordering::Relaxed);
        let (fd, reply, held) = (Mutex::new(fd), Mutex::new(reply), Arc::clone(&self.held));
        let letter = Arc::new(Letter { bytes, fd, reply, weight, held });
        // Dropped after the lock: what refuses a question sends.
        let mut unwanted = Vec::new();
        let mut readers = self.readers();
        readers.queues.retain(|queue| !queue.is_closed());
        if readers.queues.is_empty() {
            if readers.ended {
                unwanted.push(letter);
            } else {
                readers.before.push_back(letter);
                // Nobody may ever ask, or ask again: then the channel would stay full, and the primary not be heard either.
                let mut held = self.held.bytes.load(Ordering::Relaxed);
                while held >= LIMIT
                    && let Some(oldest) = readers.before.pop_front()
                {
                    held = held.saturating_sub(oldest.weight);
                    unwanted.push(oldest);
                }
                if !unwanted.is_empty() && !std::mem::replace(&mut readers.dropped, true) {
                    report::warn(format_args!(
                        "nobody reads what the primary says to this worker: the oldest is dropped; call {} to read it",
                        self.read_by
                    ));
                }
            }
        } else {
            for queue in &readers.queues {
                // Closed since: that reader has gone, and wants nothing.
                let _ = queue.send(Arc::clone(&letter));
            }
        }
        drop(readers);
        drop(unwanted);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.held.bytes.load(Ordering::Relaxed) >= LIMIT
    }

    pub(crate) fn has_readers(&self) -> bool {
        self.readers().queues.iter().any(|queue| !queue.is_closed())
    }

    /// Nothing more will come: readers get what there is, and then the end.
    pub(crate) fn end(&self) {
        let mut readers = self.readers();
        readers.ended = true;
        readers.queues.clear();
    }

    pub(super) fn subscribe(&self) -> UnboundedReceiver<Arc<Letter>> {
        let (queue, messages) = unbounded_channel();
        let mut readers = self.readers();
        for letter in readers.before.drain(..) {
            // Its reader is in our hands.
            let _ = queue.send(letter);
        }
        if !readers.ended {
            readers.queues.push(queue);
        }
        messages
    }

    fn readers(&self) -> std::sync::MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The messages of type `M` that the primary sends to this worker, in order. Node: `process.on('message')`.
///
/// What was sent before the first of these was made is kept for it. Each that there is gets every message. 64 MiB may
/// wait for them; past that the worker reads no more, and the primary's `send` says in the end that it is full.
pub struct Messages<M> {
    letters: UnboundedReceiver<Arc<Letter>>,
    of: PhantomData<fn() -> M>,
}

impl<M: DeserializeOwned> Messages<M> {
    pub(super) fn of(inbox: &Inbox) -> Messages<M> {
        Messages { letters: inbox.subscribe(), of: PhantomData }
    }

    /// The next message; `None` when this worker is to finish, or the primary is gone, and all have been read.
    /// Cancel-safe. A message that does not read as an `M` is reported and passed over. A descriptor that came with it is
    /// closed, unless another reader takes it.
    pub async fn recv(&mut self) -> Option<M> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Messages::recv), with the descriptor that came with the message, if one did: the first reader that asks
    /// gets it. Node: the second argument of `process.on('message')`.
    pub async fn recv_with(&mut self) -> Option<(M, Option<OwnedFd>)> {
        poll_fn(|cx| self.poll_letter(cx)).await.map(|(message, letter)| (message, letter.take_fd()))
    }

    /// As [`recv`](Messages::recv), for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<M>> {
        self.poll_letter(cx).map(|next| next.map(|(message, _)| message))
    }

    /// As [`recv`](Messages::recv), for a `main` that is not async: waits on this thread.
    ///
    /// # Panics
    /// Inside of an async runtime.
    pub fn blocking_recv(&mut self) -> Option<M> {
        loop {
            if let Some(message) = read(&self.letters.blocking_recv()?.bytes) {
                return Some(message);
            }
        }
    }

    fn poll_letter(&mut self, cx: &mut Context<'_>) -> Poll<Option<(M, Arc<Letter>)>> {
        loop {
            let Some(letter) = ready!(self.letters.poll_recv(cx)) else { return Poll::Ready(None) };
            if let Some(message) = read(&letter.bytes) {
                return Poll::Ready(Some((message, letter)));
            }
        }
    }
}

fn read<M: DeserializeOwned>(body: &[u8]) -> Option<M> {
    channel::decode(body)
        .map_err(|error| {
            let wanted = std::any::type_name::<M>();
            report::error(format_args!("a message of the primary does not read as `{wanted}`: {error}"));
        })
        .ok()
}

impl<M> fmt::Debug for Messages<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn encoded(message: &str) -> Vec<u8> {
        rmp_serde::to_vec_named(message).unwrap()
    }

    #[test]
    fn what_came_before_the_first_reader_is_its() {
        let inbox = Inbox::new("messages()", || {});
        inbox.deliver(encoded("early"), None, None);
        let mut first = Messages::<String>::of(&inbox);
        let mut second = Messages::<String>::of(&inbox);
        inbox.deliver(encoded("late"), None, None);
        inbox.end();
        inbox.deliver(encoded("too late"), None, None);
        assert_eq!(first.blocking_recv().as_deref(), Some("early"));
        assert_eq!(first.blocking_recv().as_deref(), Some("late"));
        assert_eq!(first.blocking_recv(), None);
        assert_eq!(second.blocking_recv().as_deref(), Some("late"));
        assert_eq!(second.blocking_recv(), None);
        assert_eq!(Messages::<String>::of(&inbox).blocking_recv(), None);
    }

    #[test]
    fn it_is_full_until_somebody_reads() {
        let told = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&told);
        let inbox = Inbox::new("messages()", move || tell.store(true, Ordering::Relaxed));
        let mut reader = Messages::<String>::of(&inbox);
        let large = "x".repeat(LIMIT / 4);
        for _ in 0..4 {
            assert!(!inbox.is_full());
            inbox.deliver(encoded(&large), None, None);
        }
        assert!(inbox.is_full() && !told.load(Ordering::Relaxed));
        assert!(reader.blocking_recv().is_some());
        assert!(!inbox.is_full() && told.load(Ordering::Relaxed));
    }

    #[test]
    fn where_nobody_reads_the_oldest_go_and_it_is_never_full() {
        let inbox = Inbox::new("messages()", || {});
        for n in 0..10 {
            inbox.deliver(encoded(&n.to_string().repeat(LIMIT / 4)), None, None);
            assert!(!inbox.is_full());
        }
        assert!(Messages::<String>::of(&inbox).blocking_recv().unwrap().starts_with('7'));
    }

    #[test]
    fn where_nobody_reads_any_size_makes_room_for_any_other() {
        let inbox = Inbox::new("messages()", || {});
        while inbox.held.bytes.load(Ordering::Relaxed) < LIMIT - 2048 {
            inbox.deliver(encoded(&"s".repeat(1000)), None, None);
        }
        inbox.deliver(encoded(&"l".repeat(1_000_000)), None, None);
        assert!(!inbox.is_full());
    }

    #[test]
    fn whoever_has_read_once_need_not_read_for_ever() {
        let inbox = Inbox::new("messages()", || {});
        inbox.deliver(encoded("first"), None, None);
        assert!(Messages::<String>::of(&inbox).blocking_recv().is_some());
        for _ in 0..10 {
            inbox.deliver(encoded(&"x".repeat(LIMIT / 4)), None, None);
        }
        assert!(!inbox.is_full());
    }
}
