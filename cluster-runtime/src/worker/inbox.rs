//! Messages from the primary, until somebody reads them.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::ipc::channel;
use crate::report;

/// Past this many bytes nothing more is read from the channel, and the primary is told that it is full.
const LIMIT: usize = 64 * 1024 * 1024;

/// Where messages wait. Bounded by whoever fills it: see [`Inbox::is_full`].
#[derive(Debug)]
pub(crate) struct Inbox {
    readers: Mutex<Readers>,
    held: Arc<Held>,
}

#[derive(Debug)]
struct Readers {
    /// Each gets every message.
    queues: Vec<UnboundedSender<Arc<Body>>>,
    /// Kept for the first of them.
    before: VecDeque<Arc<Body>>,
    had_readers: bool,
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

/// A message; its bytes are given back when its last reader is done with it.
#[derive(Debug)]
struct Body {
    bytes: Vec<u8>,
    held: Arc<Held>,
}

impl Drop for Body {
    fn drop(&mut self) {
        let before = self.held.bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        if before >= LIMIT && before - self.bytes.len() < LIMIT {
            (self.held.room)();
        }
    }
}

impl Inbox {
    pub(crate) fn new(room: impl Fn() + Send + Sync + 'static) -> Inbox {
        let readers = Readers {
            queues: Vec::new(),
            before: VecDeque::new(),
            had_readers: false,
            dropped: false,
            ended: false,
        };
        let held = Arc::new(Held { bytes: AtomicUsize::new(0), room: Box::new(room) });
        Inbox { readers: Mutex::new(readers), held }
    }

    pub(crate) fn deliver(&self, bytes: Vec<u8>) {
        self.held.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        let body = Arc::new(Body { bytes, held: Arc::clone(&self.held) });
        let mut readers = self.readers();
        readers.queues.retain(|queue| !queue.is_closed());
        if readers.queues.is_empty() {
            if !readers.ended {
                readers.before.push_back(body);
                if !readers.had_readers && self.is_full() {
                    // Nobody may ever ask: then the channel would stay full, and the primary not be heard either.
                    readers.before.pop_front();
                    if !std::mem::replace(&mut readers.dropped, true) {
                        report::warn(format_args!(
                            "nobody reads this worker's messages: the oldest are dropped; call messages() to read them"
                        ));
                    }
                }
            }
        } else {
            for queue in &readers.queues {
                // Closed since: that reader has gone, and wants nothing.
                let _ = queue.send(Arc::clone(&body));
            }
        }
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

    pub(crate) fn subscribe<M>(&self) -> Messages<M> {
        let (queue, messages) = unbounded_channel();
        let mut readers = self.readers();
        readers.had_readers = true;
        for body in readers.before.drain(..) {
            // Its reader is in our hands.
            let _ = queue.send(body);
        }
        if !readers.ended {
            readers.queues.push(queue);
        }
        Messages { messages, of: PhantomData }
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
    messages: UnboundedReceiver<Arc<Body>>,
    of: PhantomData<fn() -> M>,
}

impl<M: DeserializeOwned> Messages<M> {
    /// The next message; `None` when this worker is to finish, or the primary is gone, and all have been read.
    /// Cancel-safe. A message that does not read as an `M` is reported and passed over.
    pub async fn recv(&mut self) -> Option<M> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Messages::recv), for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<M>> {
        loop {
            let Some(body) = std::task::ready!(self.messages.poll_recv(cx)) else { return Poll::Ready(None) };
            if let Some(message) = read(&body.bytes) {
                return Poll::Ready(Some(message));
            }
        }
    }

    /// As [`recv`](Messages::recv), for a `main` that is not async: waits on this thread.
    ///
    /// # Panics
    /// Inside of an async runtime.
    pub fn blocking_recv(&mut self) -> Option<M> {
        loop {
            if let Some(message) = read(&self.messages.blocking_recv()?.bytes) {
                return Some(message);
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
        let inbox = Inbox::new(|| {});
        inbox.deliver(encoded("early"));
        let mut first = inbox.subscribe::<String>();
        let mut second = inbox.subscribe::<String>();
        inbox.deliver(encoded("late"));
        inbox.end();
        inbox.deliver(encoded("too late"));
        assert_eq!(first.blocking_recv().as_deref(), Some("early"));
        assert_eq!(first.blocking_recv().as_deref(), Some("late"));
        assert_eq!(first.blocking_recv(), None);
        assert_eq!(second.blocking_recv().as_deref(), Some("late"));
        assert_eq!(second.blocking_recv(), None);
        assert_eq!(inbox.subscribe::<String>().blocking_recv(), None);
    }

    #[test]
    fn it_is_full_until_somebody_reads() {
        let told = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&told);
        let inbox = Inbox::new(move || tell.store(true, Ordering::Relaxed));
        let mut reader = inbox.subscribe::<String>();
        let large = "x".repeat(LIMIT / 4);
        for _ in 0..4 {
            assert!(!inbox.is_full());
            inbox.deliver(encoded(&large));
        }
        assert!(inbox.is_full() && !told.load(Ordering::Relaxed));
        assert!(reader.blocking_recv().is_some());
        assert!(!inbox.is_full() && told.load(Ordering::Relaxed));
    }

    #[test]
    fn where_nobody_reads_the_oldest_go_and_it_is_never_full() {
        let inbox = Inbox::new(|| {});
        for n in 0..10 {
            inbox.deliver(encoded(&n.to_string().repeat(LIMIT / 4)));
            assert!(!inbox.is_full());
        }
        assert!(inbox.subscribe::<String>().blocking_recv().unwrap().starts_with('7'));
    }
}
