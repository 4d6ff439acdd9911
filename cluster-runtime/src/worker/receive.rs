//! The worker's end of a lane: one connection at a time, and only when it can be started at once.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::account::{Account, Permit, Spent};
use super::answer::Answer;
use super::bind::{Listener, Of};
use super::pulse::Pulse;
use super::{Here, To, here, unclustered};
use crate::board::Line;
use crate::ipc::channel::crowded;
use crate::ipc::message::{Handoff, LaneId, ListenerId, ToPrimary, ToWorker};
use crate::race::unless;
use crate::report;
use crate::sys::{process, scm};

/// Descriptors that are left to the program for its own use.
const RESERVE: u64 = 16;

/// How often to look again when descriptors were short: whoever else in this process closes one tells nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A connection that came over a lane.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    #[cfg(feature = "actix")]
    pub(crate) listener: ListenerId,
    pub(crate) peer: Option<SocketAddr>,
    /// Held until the connection is closed.
    pub(crate) permit: Spent,
}

/// Where one thread of a server gets its connections from.
pub(crate) struct Lane {
    source: Source,
    pulse: Option<Pulse>,
    account: Account,
    /// Where what comes on it is counted.
    line: Line<'static>,
    #[cfg_attr(not(feature = "actix"), allow(dead_code, reason = "keeps the wishes' sender"))]
    remote: LaneRemote,
    wishes: watch::Receiver<Wish>,
    wish: Wish,
    /// The next order. Waited for across receives: to subscribe anew for each would cost more than to receive.
    order: Option<Wait<()>>,
    room: Room,
    full: bool,
    /// On its way to the end it takes what is on the lane already, limit or not: nobody else will.
    leaving: bool,
    closing: bool,
    ended: bool,
}

type Wait<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Room for the next connection.
enum Room {
    Unknown,
    /// There is none; when there is, or it is to be looked again.
    Awaited(Wait<Option<Permit>>),
    Here(Permit),
}

#[derive(Debug)]
enum Source {
    Primary {
        id: LaneId,
        socket: UnixStream,
        last: i32,
        /// What else connections come from: sockets that this worker accepts from by itself.
        own: Box<unclustered::Sockets>,
    },
    Here(unclustered::Sockets),
}

/// What the server wants of its lane.
#[cfg_attr(
    not(feature = "actix"),
    allow(dead_code, reason = "actix's server alone stops lanes from outside")
)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wish {
    Receive,
    Pause,
    Close,
}

/// Stops or pauses a lane from another thread.
#[cfg_attr(
    not(feature = "actix"),
    allow(dead_code, reason = "actix's server alone stops lanes from outside")
)]
#[derive(Clone, Debug)]
pub(crate) struct LaneRemote {
    wish: Arc<watch::Sender<Wish>>,
}

#[cfg(feature = "actix")]
impl LaneRemote {
    /// What has been handed over is still received, then the end.
    pub(crate) fn close(&self) {
        self.wish.send_replace(Wish::Close);
    }

    pub(crate) fn pause(&self) {
        self.wish.send_if_modified(|wish| {
            *wish == Wish::Receive && std::mem::replace(wish, Wish::Pause) != Wish::Pause
        });
    }

    pub(crate) fn resume(&self) {
        self.wish.send_if_modified(|wish| {
            *wish == Wish::Pause && std::mem::replace(wish, Wish::Receive) != Wish::Receive
        });
    }
}

/// Announces that these are served from now on, and opens the lane on which their connections come. In the
/// runtime, and on the thread, that will receive.
pub(crate) async fn open_lane(listeners: &[Listener], account: &Account) -> io::Result<Lane> {
    let here = here();
    // Counted from the question on: it may be open, and bring something, before this task is told so.
    let opening = Opening::new(here);
    let (mut pulse, mut number) = (None, None);
    let source = match &here.to {
        To::Primary(link) if listeners.iter().any(|listener| matches!(listener.of, Of::Here(_))) => {
            let sockets = unclustered::Sockets::open(listeners)?;
            // The primary has heard nothing of these.
            link.tell(&ToPrimary::Ready, None);
            here.is_up();
            Source::Here(sockets)
        }
        To::Primary(link) => {
            let ids = listeners.iter().map(Listener::id).collect();
            // It is waited for from the primary's answer on, and whoever accepts may be busy with something else when that
            // comes, for as long as it likes: this runtime would be taken for one that is blocked.
            let runtime = Handle::current();
            let beat = move |answer: &Answer| {
                let (lane, line) = answer.lane()?;
                here.beat_for(lane, line, &runtime)
            };
            let counts = here.board.is_read();
            let question = |call| ToPrimary::Listen { call, listeners: ids, by_itself: true, counts };
            let (mut answer, begun) = link.call_async(question, None, beat).await?;
            pulse = begun;
            let sockets = answer.take_sockets();
            let (ToWorker::Lane { result, line, .. }, fd) = answer.take()? else {
                return Err(io::Error::other("the primary answered another question"));
            };
            let id = result?;
            number = line;
            let source = fd.ok_or_else(|| io::Error::other("the lane did not arrive"));
            source
                .and_then(|fd| Source::primary(id, fd, sockets))
                .inspect(Source::say_what_is_accepted)
                .inspect_err(|_| link.tell(&ToPrimary::Gone { lane: id }, None))?
        }
        To::Unclustered(_) => Source::Here(unclustered::Sockets::open(listeners)?),
    };
    std::mem::forget(opening);
    let (wish, wishes) = watch::channel(Wish::Receive);
    Ok(Lane {
        source,
        pulse,
        account: account.clone(),
        line: here.board.line(number),
        remote: LaneRemote { wish: Arc::new(wish) },
        wishes,
        wish: Wish::Receive,
        order: None,
        room: Room::Unknown,
        full: false,
        leaving: false,
        closing: false,
        ended: false,
    })
}

/// A lane that has been asked for. Dropped, there will be none.
struct Opening(&'static Here);

impl Opening {
    fn new(here: &'static Here) -> Opening {
        here.drain.opened();
        Opening(here)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.drain.ended();
    }
}

impl Lane {
    /// A handle by which another thread stops or pauses it.
    #[cfg(feature = "actix")]
    pub(crate) fn remote(&self) -> LaneRemote {
        self.remote.clone()
    }

    /// From now on this thread serves what comes on it, and nothing else.
    #[cfg(feature = "actix")]
    pub(crate) fn serve_here(&self) {
        super::count_on(self.line);
    }

    /// The next connection; `None` when nothing more will come. Cancel-safe.
    #[cfg(feature = "actix")]
    pub(crate) async fn receive(&mut self) -> io::Result<Option<Connection>> {
        std::future::poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// The next connection; `None` when nothing more will come.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Connection>>> {
        let here = here();
        loop {
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            // Orders first: what they say is true for the connection that comes with them.
            self.obey(here, cx);
            if !self.leaving {
                ready!(self.poll_room(cx));
            }
            let next = self.source.poll_next(self.leaving, self.line, cx);
            if next.is_pending() && self.source.falls_short() {
                // Another thread of this process has taken the last descriptor since we looked. There may be no room after all,
                // and then what waits is for others.
                self.room = Room::Unknown;
                continue;
            }
            match ready!(next)? {
                Some((socket, handoff)) => {
                    let permit = match std::mem::replace(&mut self.room, Room::Unknown) {
                        Room::Here(permit) => permit,
                        _ => self.account.overdraw(),
                    };
                    let permit = permit.spent(self.line);
                    return Poll::Ready(Ok(Some(Connection {
                        socket,
                        #[cfg(feature = "actix")]
                        listener: handoff.listener,
                        peer: handoff.peer,
                        permit,
                    })));
                }
                None => {
                    if !self.leaving {
                        // The lane's end may be here before the word that explains it. It is said in this way only:
                        // to drain, or that the primary is gone.
                        // Only the time begins: messages sent before that word are still to be read.
                        here.drain.begin(here.settings.drain_timeout);
                    }
                    self.end(here);
                }
            }
        }
    }

    /// Takes note of what the server wants and whether the worker drains, and sees to it that we are woken when that
    /// changes.
    fn obey(&mut self, here: &'static Here, cx: &mut Context<'_>) {
        loop {
            if let Some(order) = &mut self.order {
                if order.as_mut().poll(cx).is_pending() {
                    return;
                }
                self.room = Room::Unknown;
            }
            self.wish = *self.wishes.borrow_and_update();
            if self.wish == Wish::Close && !std::mem::replace(&mut self.closing, true) {
                self.close(here);
            }
            let draining = here.drain.deadline().is_some();
            self.leaving = self.wish == Wish::Close || draining;
            let mut wishes = self.wishes.clone();
            self.order = Some(Box::pin(async move {
                // The sender is in `self.remote`.
                let changed = async move { drop(wishes.changed().await) };
                match draining {
                    true => changed.await,
                    false => drop(unless(here.drain.begun(), changed).await),
                }
            }));
        }
    }

    /// Waits until one more connection may be open; tells the primary while there is no room, so that it gives what
    /// we have not read to others.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let found = match &mut self.room {
                Room::Here(_) => return Poll::Ready(()),
                Room::Awaited(awaited) => ready!(awaited.as_mut().poll(cx)),
                Room::Unknown if self.wish != Wish::Receive => {
                    self.say_full();
                    return Poll::Pending;
                }
                Room::Unknown if !self.source.has_descriptors() => {
                    self.say_full();
                    let account = self.account.clone();
                    self.room = Room::Awaited(Box::pin(async move {
                        let _ = tokio::time::timeout(LOOK_AGAIN, account.one_ended()).await;
                        None
                    }));
                    continue;
                }
                Room::Unknown => match self.account.try_take() {
                    Some(permit) => Some(permit),
                    None => {
                        // While we wait in line for a permit, we are full; it is ours when our turn comes.
                        self.say_full();
                        let account = self.account.clone();
                        self.room = Room::Awaited(Box::pin(async move { Some(account.take().await) }));
                        continue;
                    }
                },
            };
            self.room = match found {
                Some(permit) => Room::Here(permit),
                None => Room::Unknown,
            };
            if matches!(self.room, Room::Here(_)) && std::mem::take(&mut self.full) {
                self.source.tell(|lane| ToPrimary::Room { lane });
            }
        }
    }

    fn say_full(&mut self) {
        if !std::mem::replace(&mut self.full, true) {
            self.source.tell(|lane| ToPrimary::Full { lane });
        }
    }

    /// Asks the primary to send nothing more; its answer is the lane's end.
    fn close(&mut self, here: &Here) {
        if let Source::Primary { id, .. } = &self.source {
            here.tell(&ToPrimary::Unlisten { lane: *id });
        }
    }

    /// Nothing will be read from it any more: what somebody may have left on it is for others.
    fn end(&mut self, here: &Here) {
        if !std::mem::replace(&mut self.ended, true) {
            self.pulse = None;
            self.source.tell(|lane| ToPrimary::Gone { lane });
            here.drain.ended();
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("source", &self.source)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.end(here());
    }
}

impl Source {
    /// The worker's end of a lane.
    fn primary(id: LaneId, fd: OwnedFd, sockets: Vec<(ListenerId, OwnedFd)>) -> io::Result<Source> {
        let last = next_descriptor(&fd).unwrap_or(i32::MAX);
        // tokio never asks what kind of Unix socket it is given; we alone read from it, by recvmsg.
        let socket = UnixStream::from_std(std::os::unix::net::UnixStream::from(fd))?;
        Ok(Source::Primary { id, socket, last, own: Box::new(unclustered::Sockets::given(sockets)?) })
    }

    /// Until then the primary accepts from them, and hands over what has come.
    fn say_what_is_accepted(&self) {
        let Source::Primary { id, own, .. } = self else { return };
        let listeners = own.ids();
        if !listeners.is_empty() {
            here().tell(&ToPrimary::Accepts { lane: *id, listeners });
        }
    }

    fn poll_next(
        &mut self,
        leaving: bool,
        line: Line<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<(OwnedFd, Handoff)>>> {
        let (socket, last, own) = match self {
            Source::Here(sockets) => return sockets.poll_next(leaving, cx),
            Source::Primary { socket, last, own, .. } => (socket, last, own),
        };
        if leaving {
            // What waits there is for others: who has the socket too.
            own.close();
        }
        loop {
            // The lane first: little comes on it where there is another way, and its end.
            if socket.poll_read_ready(cx)?.is_pending() {
                let accepted = ready!(own.poll_next(false, cx))?;
                if let Some((socket, _)) = &accepted {
                    line.accepted();
                    *last = socket.as_raw_fd();
                }
                return Poll::Ready(Ok(accepted));
            }
            let (mut packet, mut fds) = ([0; Handoff::SIZE], Vec::new());
            let receive = || scm::receive(&*socket, &mut packet, &mut fds);
            let received = match socket.try_io(Interest::READABLE, receive) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // Short of memory: what was to be received is on the lane still. Others have a turn first, and may give
                // some back.
                Err(error) if crowded(&error) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error)),
            };
            if received.bytes == 0 {
                return Poll::Ready(Ok(None));
            }
            match (fds.pop(), Handoff::decode(&packet[..received.bytes])) {
                (Some(socket), Some(handoff)) => {
                    *last = socket.as_raw_fd();
                    return Poll::Ready(Ok(Some((socket, handoff))));
                }
                // Another thread of this process took the last descriptor between our look and the receive.
                (None, _) => {
                    *last = i32::MAX;
                    report::error(format_args!(
                        "a connection was lost: this worker's limit of open files (RLIMIT_NOFILE) is reached; raise it"
                    ));
                }
                (Some(_), None) => report::error(format_args!("the primary sent what is no connection")),
            }
        }
    }

    /// Whether a connection could not be accepted by itself for want of something; what is known of descriptors is not, then.
    fn falls_short(&mut self) -> bool {
        let Source::Primary { last, own, .. } = self else { return false };
        let short = own.falls_short();
        if short {
            *last = i32::MAX;
        }
        short
    }

    fn tell(&self, message: impl FnOnce(LaneId) -> ToPrimary) {
        if let Source::Primary { id, .. } = self {
            here().tell(&message(*id));
        }
    }

    /// Whether a connection can be received without coming near the limit of open files, past which the kernel
    /// would drop it. The last one's number tells, since the lowest free one is given.
    fn has_descriptors(&mut self) -> bool {
        let Source::Primary { socket, last, .. } = self else { return true };
        // Without a limit to compare with there is none to keep to.
        let limit = process::open_files_limit().unwrap_or(u64::MAX);
        let near = |number: i32| u64::try_from(number).unwrap_or(0) + RESERVE.min(limit / 8) >= limit;
        if near(*last) {
            *last = next_descriptor(&*socket).unwrap_or(i32::MAX);
        }
        !near(*last)
    }
}

/// The lowest number that a new descriptor would get; `None` when there is none left.
fn next_descriptor(of: impl AsFd) -> Option<i32> {
    rustix::io::fcntl_dupfd_cloexec(of, 0).ok().map(|fd| fd.as_raw_fd())
}
