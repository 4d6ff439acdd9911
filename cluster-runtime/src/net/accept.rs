//! What listeners have in common: a lane, and whoever waits for what comes on it.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_core::Stream;

use crate::Address;
use crate::worker::{self, Account, Connection, Lane, Listener, Options};

/// Takes the connections of one listener.
pub(super) struct Acceptor {
    /// Before the listener in the order of fields, and so of drops: the last word on a lane comes before that on what it
    /// brings.
    lane: Mutex<State>,
    callers: Arc<Callers>,
    listener: Listener,
    account: Account,
}

enum State {
    /// Opened by the first who accepts: then this worker can serve, and not before.
    Bound,
    Opening(Pin<Box<dyn Future<Output = io::Result<Lane>> + Send>>),
    Open(Box<Lane>),
    Ended,
}

/// Everybody who waits for the next connection, which may be several tasks.
#[derive(Debug, Default)]
struct Callers(Mutex<Vec<Waker>>);

impl Acceptor {
    pub(super) async fn bind(address: Address, options: &Options) -> io::Result<Acceptor> {
        Ok(Acceptor::of(worker::ask_to_bind(address, options).await?))
    }

    pub(super) async fn inherited(number: RawFd) -> io::Result<Acceptor> {
        Ok(Acceptor::of(worker::ask_for_inherited(number).await?))
    }

    pub(super) async fn activated(name: &str) -> io::Result<Acceptor> {
        Ok(Acceptor::of(worker::ask_for_activated(name).await?))
    }

    pub(super) fn adopt(socket: OwnedFd) -> io::Result<Acceptor> {
        Ok(Acceptor::of(worker::adopt(socket)?))
    }

    fn of(listener: Listener) -> Acceptor {
        worker::serve();
        let limit = worker::settings().max_connections.unwrap_or(usize::MAX);
        Acceptor {
            lane: Mutex::new(State::Bound),
            callers: Arc::default(),
            listener,
            account: Account::new(limit),
        }
    }

    pub(super) fn address(&self) -> &Address {
        self.listener.address()
    }

    /// The next connection; `None` when nothing more will come.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Connection>>> {
        let mut state = lock(&self.lane);
        self.callers.add(cx.waker());
        // One who takes a connection may leave others waiting: whatever comes next wakes all of them.
        let waker = Waker::from(Arc::clone(&self.callers));
        let cx = &mut Context::from_waker(&waker);
        loop {
            match &mut *state {
                State::Bound => {
                    let (listener, account) = (self.listener.clone(), self.account.clone());
                    let opening = async move { worker::open_lane(&[listener], &account).await };
                    *state = State::Opening(Box::pin(opening));
                }
                State::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(lane) => *state = State::Open(Box::new(lane)),
                    Err(error) => {
                        // To be tried again by the next who accepts.
                        *state = State::Bound;
                        return Poll::Ready(Err(error));
                    }
                },
                State::Open(lane) => match ready!(lane.poll_receive(cx)) {
                    Ok(None) => {
                        *state = State::Ended;
                        // Others wait too, for an end that they would not hear of.
                        self.callers.wake_by_ref();
                    }
                    received => return Poll::Ready(received),
                },
                State::Ended => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// The next connection; pending for ever when nothing more will come.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        match ready!(self.poll_next(cx))? {
            Some(connection) => Poll::Ready(Ok(connection)),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listener.address().fmt(f)
    }
}

impl Callers {
    fn add(self: &Arc<Self>, waker: &Waker) {
        let mut callers = lock(&self.0);
        if !callers.iter().any(|caller| caller.will_wake(waker)) {
            callers.push(waker.clone());
        }
    }
}

impl Wake for Callers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Not under the lock: a waker may run what accepts.
        let callers = std::mem::take(&mut *lock(&self.0));
        callers.into_iter().for_each(Waker::wake);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connections of a listener, one after the other; ends when nothing more will come. By reference from
/// `incoming()`, or with the listener in it from `into_incoming()`, as `tonic`'s `serve_with_incoming` wants it.
#[must_use = "a stream does nothing until it is polled"]
pub struct Incoming<L> {
    listener: L,
    /// Nothing more will come; yet whoever is told so may close what he has not read from.
    last_call: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<L> Incoming<L> {
    pub(super) fn of(listener: L) -> Incoming<L> {
        // Whoever sees the end of it ends by himself.
        worker::concern();
        Incoming { listener, last_call: None }
    }
}

impl<L: fmt::Debug> fmt::Debug for Incoming<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Incoming").field(&self.listener).finish()
    }
}

impl<L: Listening + Unpin> Stream for Incoming<L> {
    type Item = io::Result<L::Stream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        Poll::Ready(match ready!(this.listener.acceptor().poll_next(cx)) {
            Ok(Some(connection)) => Some(this.listener.stream(connection)),
            Ok(None) => {
                let last_call = this.last_call.get_or_insert_with(|| Box::pin(worker::last_call()));
                ready!(last_call.as_mut().poll(cx));
                this.last_call = None;
                None
            }
            Err(error) => Some(Err(error)),
        })
    }
}

/// A listener of this module, or a reference to one.
#[expect(private_interfaces, reason = "sealed: what it is made of is nobody else's")]
pub trait Listening: sealed::Sealed {
    /// What it accepts.
    type Stream;

    #[doc(hidden)]
    fn acceptor(&self) -> &Acceptor;

    #[doc(hidden)]
    fn stream(&self, connection: Connection) -> io::Result<Self::Stream>;
}

#[expect(private_interfaces, reason = "as above")]
impl<L: Listening> Listening for &L {
    type Stream = L::Stream;

    fn acceptor(&self) -> &Acceptor {
        (**self).acceptor()
    }

    fn stream(&self, connection: Connection) -> io::Result<L::Stream> {
        (**self).stream(connection)
    }
}

pub(super) mod sealed {
    pub trait Sealed {}
    impl<L: Sealed> Sealed for &L {}
}
