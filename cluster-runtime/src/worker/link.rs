//! The worker's end of the channel, with a thread of its own.
//!
//! A thread, and not a task of the user's runtime: what the primary says must be heard while that runtime is
//! blocked, or where there is none. It alone reads; whoever sends writes at once, and leaves to it what the
//! socket did not take.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use tokio::sync::{Notify, oneshot};

use super::answer::Answer;
use super::wait::{reset, wait};
use crate::error::{AskError, SendError};
use crate::ipc::channel::{Encoded, Intake, Outbox, Packet, REST, Read, Refused, Reply, decode};
use crate::ipc::frame::{Head, Kind};
use crate::ipc::message::{Call, ListenerId, ToPrimary, ToWorker};
use crate::report;

/// How long a worker waits for an answer: the primary is busy with a callback at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long a worker that ends waits for the primary to read what it has still to say.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(5);

/// Questions that may wait for their answers, and messages for other workers that may wait to be passed on.
pub(super) const MOST_QUESTIONS: usize = 65_536;

/// What the thread does with what it hears.
pub(super) trait Listener: Sync {
    fn message(&self, body: Vec<u8>, fd: Option<OwnedFd>);
    fn question(&self, body: Vec<u8>, reply: Reply);
    /// Whether messages are to be left in the socket for now.
    fn is_full(&self) -> bool;
    fn drain(&self, within: Duration);
    /// The cluster will stop.
    fn foretold(&self);
    /// Called in each turn: looks how much memory this process has, where that is due. Yields when to be called again.
    fn weigh(&self) -> Option<Instant> {
        None
    }
    /// Rings for signs of life. Yields when it is the next time.
    fn ring(&self, now: Instant) -> Option<Instant>;
    /// Somebody sent this process a SIGTERM: the kernel, if the primary is gone. Yields, then, when this process has to
    /// be, too.
    fn terminated(&self) -> Option<Instant>;
    /// The primary is gone. Yields when this process has to be, too.
    fn orphaned(&self) -> Instant;
}

/// Whoever waits for an answer.
type Asker = Box<dyn FnOnce(Answer) + Send>;

/// Who waits, by the number of his question; nobody ever again when the channel has ended.
type Askers = Option<BTreeMap<u32, Asker>>;

/// What is waited for under a number: an answer, or word of what was relayed.
type Told = Result<Vec<u8>, String>;

/// Questions and relayed messages of which nothing was heard yet.
#[derive(Debug, Default)]
struct Unanswered {
    last: u64,
    waiting: BTreeMap<u64, (Kind, oneshot::Sender<Told>)>,
    closed: bool,
}

/// What is to be written, and who has been told of it.
#[derive(Debug, Default)]
struct Outgoing {
    outbox: Outbox,
    /// The thread knows that something waits, and writes it when it can.
    left: bool,
}

/// The channel to the primary.
pub(super) struct Link {
    socket: OwnedFd,
    outgoing: Mutex<Outgoing>,
    /// Told whenever something was written, and at the end.
    written: Notify,
    unanswered: Mutex<Unanswered>,
    /// Written by this process for the thread to look up.
    wake: OwnedFd,
    /// Written by the handler of SIGTERM.
    terminate: OwnedFd,
    askers: Mutex<Askers>,
    /// Sockets that have come, and wait for the answer that they belong to.
    sockets: Mutex<Vec<(Call, ListenerId, OwnedFd)>>,
    calls: AtomicU32,
    closed: AtomicBool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(socket: OwnedFd, terminate: OwnedFd) -> io::Result<Link> {
        Ok(Link {
            socket,
            outgoing: Mutex::default(),
            written: Notify::new(),
            unanswered: Mutex::default(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            terminate,
            askers: Mutex::new(Some(BTreeMap::new())),
            sockets: Mutex::default(),
            calls: AtomicU32::new(0),
            closed: AtomicBool::new(false),
        })
    }

    /// Starts the thread, which lives as long as the process.
    pub(super) fn start(&'static self, listener: &'static impl Listener) -> io::Result<()> {
        std::thread::Builder::new().name("cluster-link".into()).spawn(move || {
            // Without this thread the process would hear nothing more, not even that the primary is gone.
            match catch_unwind(AssertUnwindSafe(|| self.run(listener))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    report::error(format_args!("the worker's channel: {error}; the worker ends"));
                    std::process::exit(1);
                }
                Err(_) => crate::sys::process::exit_now(1),
            }
        })?;
        Ok(())
    }

    /// Sends what the user says.
    pub(super) fn post(&self, head: Head, body: &[u8], fd: Option<OwnedFd>) -> Result<(), Refused> {
        let mut outgoing = lock(&self.outgoing);
        outgoing.outbox.post(head, body, fd)?;
        self.write_soon(&mut outgoing);
        Ok(())
    }

    /// Asks the primary, or has it pass a message on; the answer comes by the receiver, which finds its sender gone where
    /// there will be none. `head` makes the head from the number.
    pub(super) fn ask(
        &self,
        head: impl FnOnce(u64) -> Head,
        body: &[u8],
    ) -> Result<(u64, oneshot::Receiver<Told>), AskError> {
        let (tell, told) = oneshot::channel();
        let head = {
            let mut unanswered = lock(&self.unanswered);
            if unanswered.closed {
                return Err(AskError::Send(SendError::Closed));
            }
            if unanswered.waiting.len() >= MOST_QUESTIONS {
                return Err(AskError::TooMany { limit: MOST_QUESTIONS });
            }
            unanswered.last += 1;
            let head = head(unanswered.last);
            // Before it is sent: the answer may be faster than this thread.
            unanswered.waiting.insert(head.number, (head.kind, tell));
            head
        };
        if let Err(refused) = self.post(head, body, None) {
            self.forget(head.number);
            return Err(AskError::Send(refused.error));
        }
        Ok((head.number, told))
    }

    /// Nobody waits for this answer any more.
    pub(super) fn forget(&self, number: u64) {
        lock(&self.unanswered).waiting.remove(&number);
    }

    /// What has come under a number that nobody waits for, or no longer, is ignored.
    fn told(&self, number: u64, told: Told) {
        let waiting = lock(&self.unanswered).waiting.remove(&number);
        let Some((kind, asker)) = waiting else { return };
        // Whoever asked and went has given its number back; whoever only sent does not look, and is told of a loss.
        if let (Kind::Relay, Err(told)) = (kind, asker.send(told))
            && let Some(lost) = super::say::lost(&told)
        {
            report::warn(format_args!("{lost}"));
        }
    }

    /// The answer to a question of the primary's.
    fn answer(&self, number: u64, answer: Result<Encoded, String>) -> Result<(), SendError> {
        let (told, reason) = match answer {
            Ok(answer) => match self.post(Head::of(Kind::Answer, number), answer.as_bytes(), None) {
                Ok(()) => return Ok(()),
                Err(refused) => (Err(refused.error.clone()), refused.error.to_string()),
            },
            Err(reason) => (Ok(()), reason),
        };
        match self.post_ours(Head::of(Kind::Refusal, number), reason.as_bytes(), None) {
            Ok(()) | Err(SendError::Closed) => {}
            Err(error) => report::error(format_args!("refusing a question: {error}")),
        }
        told
    }

    /// Waits until all that was sent before this call has been taken by the kernel.
    pub(super) async fn flushed(&self) -> Result<(), SendError> {
        let until = {
            let outgoing = lock(&self.outgoing);
            outgoing.outbox.written() + outgoing.outbox.waiting() as u64
        };
        loop {
            let mut written = std::pin::pin!(self.written.notified());
            // Before the look, that no word in between is missed.
            written.as_mut().enable();
            {
                let outgoing = lock(&self.outgoing);
                if outgoing.outbox.written() >= until {
                    return Ok(());
                }
                if outgoing.outbox.is_closed() {
                    return Err(SendError::Closed);
                }
            }
            written.await;
        }
    }

    /// How many bytes wait for the primary.
    pub(super) fn backlog(&self) -> usize {
        lock(&self.outgoing).outbox.waiting()
    }

    /// A primary that is gone is no error here: its end is met by the thread.
    pub(super) fn tell(&self, message: &ToPrimary, fd: Option<OwnedFd>) {
        match self.try_tell(message, fd) {
            Ok(()) | Err(SendError::Closed) => {}
            Err(error) => report::error(format_args!("telling the primary {message:?}: {error}")),
        }
    }

    /// As `tell`, of what says the same again and again: passed over while the last one, which ended at `sent`, waits.
    pub(super) fn tell_again(&self, message: &ToPrimary, sent: &mut u64) {
        let Ok(message) = Encoded::new(message) else { return };
        let mut outgoing = lock(&self.outgoing);
        if outgoing.outbox.written() >= *sent
            && outgoing.outbox.post_ours(Head::CONTROL, message.as_bytes(), None).is_ok()
        {
            *sent = outgoing.outbox.written() + outgoing.outbox.waiting() as u64;
            self.write_soon(&mut outgoing);
        }
    }

    fn try_tell(&self, message: &ToPrimary, fd: Option<OwnedFd>) -> Result<(), SendError> {
        self.post_ours(Head::CONTROL, Encoded::new(message)?.as_bytes(), fd)
    }

    fn post_ours(&self, head: Head, body: &[u8], fd: Option<OwnedFd>) -> Result<(), SendError> {
        let mut outgoing = lock(&self.outgoing);
        outgoing.outbox.post_ours(head, body, fd).map_err(|refused| refused.error)?;
        self.write_soon(&mut outgoing);
        Ok(())
    }

    /// Asks and waits for the answer; blocks this thread for as long as the primary takes.
    pub(super) fn call(
        &self,
        question: impl FnOnce(Call) -> ToPrimary,
        fd: Option<OwnedFd>,
    ) -> io::Result<Answer> {
        let (asker, answer) = mpsc::sync_channel(1);
        self.put(question, fd, Box::new(move |answer| drop(asker.send(answer))))?;
        answer.recv_timeout(ANSWER_WITHIN).map_err(|error| match error {
            mpsc::RecvTimeoutError::Disconnected => gone(),
            mpsc::RecvTimeoutError::Timeout => io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "the cluster's primary has not answered within {ANSWER_WITHIN:?}: is a callback stuck?"
                ),
            ),
        })
    }

    /// As `call`, and lets other tasks run until the answer is here. May be dropped at any time. `first` is done with the
    /// answer when it comes, in the link's thread: whoever asked may not get his turn for long.
    pub(super) async fn call_async<T: Send + 'static>(
        &self,
        question: impl FnOnce(Call) -> ToPrimary,
        fd: Option<OwnedFd>,
        first: impl FnOnce(&Answer) -> T + Send + 'static,
    ) -> io::Result<(Answer, T)> {
        let (asker, answer) = oneshot::channel();
        let tell = move |answer: Answer| {
            let made = first(&answer);
            drop(asker.send((answer, made)));
        };
        self.put(question, fd, Box::new(tell))?;
        answer.await.map_err(|_| gone())
    }

    fn put(
        &self,
        question: impl FnOnce(Call) -> ToPrimary,
        fd: Option<OwnedFd>,
        asker: Asker,
    ) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        // Before it is asked: the answer may be here at once.
        lock(&self.askers).as_mut().ok_or_else(gone)?.insert(call, asker);
        self.try_tell(&question(Call(call)), fd).map_err(|error| {
            let asker = lock(&self.askers).as_mut().and_then(|askers| askers.remove(&call));
            drop(asker);
            io::Error::other(error)
        })
    }

    /// Has the thread look up.
    pub(super) fn wake(&self) {
        // A full counter has been written to, and wakes all the same.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Waits until everything sent has been taken by the kernel, or nobody reads.
    pub(super) fn finish(&self) {
        let until = Instant::now() + LAST_WORDS_WITHIN;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let short = {
                let outgoing = &mut *lock(&self.outgoing);
                self.write(outgoing);
                if !outgoing.outbox.is_waiting() {
                    return;
                }
                outgoing.outbox.is_short()
            };
            // Of a shortage no event tells the end: the socket is writable all the while, and is not asked.
            let (events, left) = match short {
                true => (PollFlags::empty(), left.min(REST)),
                false => (PollFlags::OUT, left),
            };
            let mut room = [PollFd::new(&self.socket, events)];
            if let Err(error) = wait(&mut room, Some(left)) {
                report::error(format_args!("waiting for the primary to read: {error}"));
                return;
            }
        }
        report::error(format_args!("the primary did not read this worker's last messages; they are lost"));
    }

    /// Writes at once, so that what was sent is heard however this process ends; leaves to the thread what the socket does
    /// not take, which is then many messages for each system call.
    fn write_soon(&self, outgoing: &mut Outgoing) {
        if outgoing.left {
            return;
        }
        self.write(outgoing);
        if outgoing.outbox.is_waiting() {
            outgoing.left = true;
            self.wake();
        }
    }

    fn write(&self, outgoing: &mut Outgoing) {
        // An error means that nobody reads any more: the thread meets the end, and the outbox knows it.
        let _ = outgoing.outbox.flush(&self.socket);
        outgoing.left &= outgoing.outbox.is_waiting();
        self.written.notify_waiters();
    }

    fn run(&'static self, listener: &impl Listener) -> io::Result<()> {
        let mut intake = Intake::default();
        let mut until: Option<Instant> = None;
        let (mut look, mut waiting, mut short) = (true, false, false);
        loop {
            let closed = self.closed.load(Ordering::Relaxed);
            let mut interest = PollFlags::empty();
            if !listener.is_full() {
                interest |= PollFlags::IN;
            }
            // Whoever leaves something to this thread wakes it: else there is nothing to look for, and whoever sends just then
            // keeps his lock to himself.
            if look {
                let outbox = &lock(&self.outgoing).outbox;
                (waiting, short) = (outbox.is_waiting(), outbox.is_short());
                look = waiting;
            }
            // Where memory or descriptors are short it is writable all the time: then it is tried again after a rest.
            if waiting && !short {
                interest |= PollFlags::OUT;
            }
            let [mut woken, mut terminated, mut ready] = [
                PollFd::new(&self.wake, PollFlags::IN),
                PollFd::new(&self.terminate, PollFlags::IN),
                PollFd::new(&self.socket, interest),
            ];
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                // Whatever still runs here has had its time, and no destructor of it may take more.
                crate::sys::process::exit_now(0);
            }
            // A socket that has ended is reported for ever.
            let count = if closed { 2 } else { 3 };
            let mut fds = [woken.clone(), terminated.clone(), ready.clone()];
            let now = Instant::now();
            let own = [listener.ring(now), listener.weigh()].into_iter().flatten();
            let own = own.map(|at| at.saturating_duration_since(now));
            let rest = own.chain(left).chain(short.then_some(REST)).min();
            wait(&mut fds[..count], rest)?;
            [woken, terminated, ready] = fds;
            if woken.revents().contains(PollFlags::IN) {
                reset(&self.wake)?;
                look = true;
            }
            if terminated.revents().contains(PollFlags::IN) {
                reset(&self.terminate)?;
                // The earlier one: who is told again and again has no more time for it.
                until = [listener.terminated(), until].into_iter().flatten().min();
            }
            if closed {
                continue;
            }
            if short || ready.revents().contains(PollFlags::OUT) {
                self.write(&mut lock(&self.outgoing));
            }
            if ready.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                let read = intake.read(&self.socket)?;
                while let Some(packet) = intake.next()? {
                    self.heard(packet, listener)?;
                }
                if read == Read::End {
                    self.closed.store(true, Ordering::Release);
                    // Whoever waits for an answer learns in this way that there will be none.
                    let askers = lock(&self.askers).take();
                    drop(askers);
                    self.end();
                    until = Some(listener.orphaned());
                }
            }
        }
    }

    /// Nobody is there to read, or to answer.
    fn end(&self) {
        lock(&self.outgoing).outbox.close();
        self.written.notify_waiters();
        let waiting = {
            let mut unanswered = lock(&self.unanswered);
            unanswered.closed = true;
            std::mem::take(&mut unanswered.waiting)
        };
        // Each asker finds its sender gone. Without the lock: it wakes whoever it is.
        drop(waiting);
    }

    fn heard(&'static self, packet: Packet, listener: &impl Listener) -> io::Result<()> {
        let Packet { head, body, fd } = packet;
        match head.kind {
            Kind::Control => self.heard_ours(decode(&body).map_err(io::Error::other)?, fd, listener),
            Kind::User => listener.message(body, fd),
            Kind::Ask => {
                listener.question(body, Box::new(move |answer| self.answer(head.number, answer)));
            }
            Kind::Answer => self.told(head.number, Ok(body)),
            Kind::Refusal => self.told(head.number, Err(String::from_utf8_lossy(&body).into_owned())),
            // The first is what workers say, the second the channel's own; the last was read at the birth.
            Kind::Relay | Kind::Hello | Kind::Birth | Kind::Check => {}
        }
        Ok(())
    }

    fn heard_ours(&'static self, message: ToWorker, fd: Option<OwnedFd>, listener: &impl Listener) {
        match message {
            ToWorker::Drain { within_ms } => listener.drain(Duration::from_millis(within_ms)),
            ToWorker::Stopping => listener.foretold(),
            ToWorker::Stderr { pipe } => super::stderr::take_over(pipe, fd, self),
            // One that did not arrive is not accepted from here, and so it is by the primary.
            ToWorker::Socket { call, listener } => {
                lock(&self.sockets).extend(fd.map(|fd| (call, listener, fd)));
            }
            ToWorker::Bound { call, .. } | ToWorker::Lane { call, .. } => {
                let sockets = lock(&self.sockets).extract_if(.., |(of, ..)| *of == call).collect::<Vec<_>>();
                let sockets = sockets.into_iter().map(|(_, listener, fd)| (listener, fd)).collect();
                let answer = Answer::new(message, fd, sockets);
                let asker = lock(&self.askers).as_mut().and_then(|askers| askers.remove(&call.0));
                if let Some(asker) = asker {
                    asker(answer);
                }
            }
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the cluster's primary is gone")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
