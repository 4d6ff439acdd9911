//! The worker's end of a lane: one connection at a time, and only when it can be started at once.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::account::{Account, Permit, Spent};
use super::bind::Listener;
use super::{Here, To, here, unclustered};
use crate::ipc::message::{Handoff, LaneId, ListenerId, ToPrimary, ToWorker};
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
    pub(crate) listener: ListenerId,
    pub(crate) peer: Option<SocketAddr>,
    /// Held until the connection is closed.
    pub(crate) permit: Spent,
}

/// Where one thread of a server gets its connections from.
#[derive(Debug)]
pub(crate) struct Lane {
    source: Source,
    account: Account,
    remote: LaneRemote,
    wish: watch::Receiver<Wish>,
    full: bool,
    closing: bool,
    ended: bool,
}

#[derive(Debug)]
enum Source {
    Primary { id: LaneId, socket: UnixStream, last: i32 },
    Here(unclustered::Sockets),
}

/// What the server wants of its lane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wish {
    Receive,
    Pause,
    Close,
}

/// Stops or pauses a lane from another thread.
#[derive(Clone, Debug)]
pub(crate) struct LaneRemote {
    wish: Arc<watch::Sender<Wish>>,
}

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
pub(crate) fn open_lane(listeners: &[Listener], account: &Account) -> io::Result<Lane> {
    let here = here();
    // Before the primary can deal the first connection to it, and say that it is to go.
    here.drain.concern();
    let source = match &here.to {
        To::Primary(link) => {
            let ids = listeners.iter().map(Listener::id).collect();
            let (answer, fd) = link.call(|call| ToPrimary::Listen { call, listeners: ids }, None)?;
            let ToWorker::Lane { result, .. } = answer else {
                return Err(io::Error::other("the primary answered another question"));
            };
            let id = result?;
            let fd = fd.ok_or_else(|| io::Error::other("the lane did not arrive"))?;
            let last = next_descriptor(&fd).unwrap_or(i32::MAX);
            // tokio never asks what kind of Unix socket it is given; we alone read from it, by recvmsg.
            let socket = UnixStream::from_std(std::os::unix::net::UnixStream::from(fd))
                .inspect_err(|_| link.tell(&ToPrimary::Gone { lane: id }, None))?;
            Source::Primary { id, socket, last }
        }
        To::Unclustered(_) => Source::Here(unclustered::Sockets::open(listeners)?),
    };
    here.drain.opened();
    let (wish, wishes) = watch::channel(Wish::Receive);
    Ok(Lane {
        source,
        account: account.clone(),
        remote: LaneRemote { wish: Arc::new(wish) },
        wish: wishes,
        full: false,
        closing: false,
        ended: false,
    })
}

impl Lane {
    /// A handle by which another thread stops or pauses it.
    pub(crate) fn remote(&self) -> LaneRemote {
        self.remote.clone()
    }

    /// The next connection; `None` when nothing more will come. Cancel-safe.
    pub(crate) async fn receive(&mut self) -> io::Result<Option<Connection>> {
        let here = here();
        loop {
            if self.ended {
                return Ok(None);
            }
            let wish = *self.wish.borrow_and_update();
            if wish == Wish::Close && !std::mem::replace(&mut self.closing, true) {
                self.close(here);
            }
            // On its way to the end, it takes what is on the lane already, limit or not: nobody else will.
            let leaving = wish == Wish::Close || here.drain.deadline().is_some();
            let permit = if leaving {
                self.account.overdraw()
            } else {
                tokio::select! {
                    biased;
                    permit = room(&self.account, &mut self.source, &mut self.full, wish) => permit,
                    () = here.drain.begun() => continue,
                    // The sender is in `self.remote`.
                    _ = self.wish.changed() => continue,
                }
            };
            tokio::select! {
                // Orders first: what they say is true for the connection that comes with them.
                biased;
                _ = self.wish.changed() => {}
                () = here.drain.begun(), if !leaving => {}
                connection = next(&mut self.source, leaving) => match connection? {
                    Some((socket, handoff)) => {
                        let Handoff { listener, peer } = handoff;
                        return Ok(Some(Connection { socket, listener, peer, permit: permit.spent() }));
                    }
                    None => {
                        if !leaving {
                            // The lane's end may be here before the word that explains it. It is said in this way only:
                            // to drain, or that the primary is gone.
                            // Only the time begins: messages sent before that word are still to be read.
                            here.drain.begin(here.settings.drain_timeout);
                        }
                        self.end(here);
                    }
                },
            }
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
            self.source.tell(|lane| ToPrimary::Gone { lane });
            here.drain.ended();
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.end(here());
    }
}

/// Waits until one more connection may be open; tells the primary while there is no room, so that it gives what
/// we have not read to others.
async fn room(account: &Account, source: &mut Source, full: &mut bool, wish: Wish) -> Permit {
    loop {
        if wish == Wish::Receive && source.has_descriptors() {
            // While we wait in line for a permit, we are full; it is ours when our turn comes.
            let permit = match account.try_take() {
                Some(permit) => permit,
                None => {
                    if !std::mem::replace(full, true) {
                        source.tell(|lane| ToPrimary::Full { lane });
                    }
                    account.take().await
                }
            };
            if std::mem::take(full) {
                source.tell(|lane| ToPrimary::Room { lane });
            }
            return permit;
        }
        if !std::mem::replace(full, true) {
            source.tell(|lane| ToPrimary::Full { lane });
        }
        if wish != Wish::Receive {
            std::future::pending::<()>().await;
        }
        let _ = tokio::time::timeout(LOOK_AGAIN, account.one_ended()).await;
    }
}

async fn next(source: &mut Source, leaving: bool) -> io::Result<Option<(OwnedFd, Handoff)>> {
    match source {
        Source::Here(sockets) => sockets.accept(leaving).await,
        Source::Primary { socket, last, .. } => loop {
            let (mut packet, mut fds) = ([0; Handoff::SIZE], Vec::new());
            let received =
                socket.async_io(Interest::READABLE, || scm::receive(&*socket, &mut packet, &mut fds)).await?;
            if received.bytes == 0 {
                return Ok(None);
            }
            match (fds.pop(), Handoff::decode(&packet[..received.bytes])) {
                (Some(socket), Some(handoff)) => {
                    *last = socket.as_raw_fd();
                    return Ok(Some((socket, handoff)));
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
        },
    }
}

impl Source {
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
