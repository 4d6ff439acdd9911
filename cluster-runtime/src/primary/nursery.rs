//! The nursery: a process that has run `preload` and forks the workers, so that what was built once is in each.
//!
//! ```text
//! primary ──fork──▶ nursery ──preload──▶ Ready
//!    ▲  Spawn + channel ──▶ │
//!    │                      └─clone(CLONE_PARENT)──▶ worker
//!    └──────────────────────────────────────────────── child of the primary
//! ```
//!
//! Preload may be slow, hungry or crash, and none of it is the primary's trouble. Its workers are the primary's
//! children: they outlive it, and their status reaches the primary when it is gone. A dead nursery is replaced,
//! and what it was asked for and had not done is asked of the next.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::Newborn;
use super::cradle::Cradle;
use super::latecomers::Latecomers;
use super::output::Ends;
use super::slot::Id;
use super::source::Source;
use super::supervise::Streak;
use crate::fork::Fork;
use crate::ipc::channel::decode;
use crate::report;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::fork::{self, Birth};
use crate::sys::pidfd::{Child, Status};
use crate::sys::scm;
use serde::{Deserialize, Serialize};

/// Primary → nursery, with the worker's end of its channel.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Spawn {
    pub(super) id: u64,
    pub(super) slot: usize,
    pub(super) generation: u64,
    pub(super) fork: Fork,
    /// Its row comes with it, after the channel and before its output.
    pub(super) board: bool,
}

/// Nursery → primary.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Answer {
    /// Preload is done.
    Ready,
    /// It failed, and why; the process ends.
    Failed {
        why: String,
    },
    /// Said by the worker itself before anything else, and by the nursery: one of them may be killed before it can.
    Born {
        id: u64,
        pid: u32,
    },
    Unborn {
        id: u64,
        why: String,
    },
}

/// When a nursery is asked again that could not be asked: too many descriptors are on their way, or the kernel is short of
/// memory.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Bytes of an answer.
pub(super) const LARGEST: usize = 4096;

/// Bytes of what is asked: an environment, above all. A packet of this size still fits into a socket's buffer.
pub(super) const LARGEST_SPAWN: usize = 96 * 1024;

/// How long a nursery that has closed its socket, or is to go, may take to end.
const END_WITHIN: Duration = Duration::from_secs(1);

/// The primary's side.
#[derive(Debug)]
pub(crate) struct Nursery {
    /// Of its workers.
    generation: u64,
    process: Option<Process>,
    /// Births asked for and not yet answered; the worker's end of its channel stays with us until then.
    births: BTreeMap<Id, Asked>,
    /// Of whose birth one has told, the nursery or the worker; the other is to be passed over: the pid may be a stranger's by then.
    half_told: BTreeSet<Id>,
    /// Of former ones, who may have been born without our being told.
    late: Vec<Latecomers>,
    streak: Streak,
    start_at: Option<Instant>,
    /// One has been ready: from then on a failure is that process's own.
    was_ready: bool,
    /// It could not be asked just now, and no answer of its own says when it can be.
    ask_at: Option<Instant>,
    /// Another has taken its place: it has no more births, and until then to end.
    retired: Option<Instant>,
}

/// A birth that was asked for.
#[derive(Debug)]
struct Asked {
    slot: usize,
    /// A [`Spawn`].
    bytes: Vec<u8>,
    /// The worker's end.
    channel: OwnedFd,
    board: Option<OwnedFd>,
    output: Option<Ends>,
    /// The nursery was told, then.
    told: Option<Instant>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    socket: OwnedFd,
    ready: bool,
    /// How long preload, and each birth, may take.
    within: Duration,
    started: Instant,
    late: bool,
    /// Why preload failed.
    words: Option<String>,
    /// It has closed its end of the socket, and so has every worker that it has made: each has said that it is born, or is gone.
    deaf_since: Option<Instant>,
    /// It is gone; a worker that it has made may not have said so yet.
    ended: Option<Instant>,
    /// Its socket is in the epoll set.
    heard: bool,
}

/// Where the process that called [`Nursery::start`] finds itself.
pub(crate) enum Start {
    Primary,
    Nursery(Cradle),
}

impl Nursery {
    pub(crate) fn new(generation: u64) -> Nursery {
        Nursery {
            generation,
            process: None,
            births: BTreeMap::new(),
            half_told: BTreeSet::new(),
            late: Vec::new(),
            streak: Streak::default(),
            start_at: None,
            was_ready: false,
            ask_at: None,
            retired: None,
        }
    }

    /// Forks the nursery.
    pub(crate) fn start(&mut self, within: Duration, now: Instant) -> io::Result<Start> {
        self.start_at = None;
        let (ours, theirs) = scm::packet_pair()?;
        let primary = std::process::id();
        match fork::fork()? {
            Birth::Child => Ok(Start::Nursery(Cradle { socket: theirs, primary })),
            Birth::Parent { child } => {
                let child = Child::or_end(child)?;
                let (ready, late) = (false, false);
                self.process = Some(Process {
                    child,
                    socket: ours,
                    ready,
                    within,
                    started: now,
                    late,
                    words: None,
                    deaf_since: None,
                    ended: None,
                    heard: false,
                });
                Ok(Start::Primary)
            }
        }
    }

    /// One of its generation has been ready, maybe in an image before this one: workers that serve are no proof of less.
    pub(crate) fn has_preloaded(&mut self) {
        self.was_ready = true;
    }

    /// Waits for its end and its answers from now on.
    pub(crate) fn watch(&mut self, epoll: &Epoll) -> io::Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        epoll.add(&process.child, Source::NurseryChild(self.generation).name(), Interest::End)?;
        epoll.add(&process.socket, Source::NurseryAnswer(self.generation).name(), Interest::Read)?;
        process.heard = true;
        Ok(())
    }

    /// Stops waiting for answers of one that has closed its end, which would be reported for ever.
    pub(crate) fn unhear_deaf(&mut self, epoll: &Epoll) -> io::Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if process.deaf_since.is_some() && std::mem::take(&mut process.heard) {
            epoll.remove(&process.socket)?;
        }
        Ok(())
    }

    /// Stops waiting for anything of it: it has ended.
    fn unwatch(&mut self, epoll: &Epoll) -> io::Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if std::mem::take(&mut process.heard) {
            epoll.remove(&process.socket)?;
        }
        match process.ended {
            Some(_) => Ok(()),
            None => epoll.remove(&process.child),
        }
    }

    /// It has ended, or its socket has. Whether it is to be left alone still: a worker that it has made has that socket until
    /// it has said that it is born, and whoever asked for it again now would have it twice.
    pub(crate) fn awaits_newborns(&mut self, epoll: &Epoll, now: Instant) -> io::Result<bool> {
        let Some(process) = &mut self.process else { return Ok(false) };
        if process.deaf_since.is_some() {
            return Ok(false);
        }
        if process.ended.is_none() {
            process.ended = Some(now);
            process.ready = false;
            // It stays readable.
            epoll.remove(&process.child)?;
        }
        Ok(process.ended.is_some_and(|ended| now < ended + END_WITHIN))
    }

    /// Whether it has ended, and who it has made, too.
    pub(crate) fn is_to_be_reaped(&self, now: Instant) -> bool {
        self.process.as_ref().is_some_and(|process| {
            process.ended.is_some_and(|ended| process.deaf_since.is_some() || ended + END_WITHIN <= now)
        })
    }

    /// It can't be heard: it is ended at once.
    pub(crate) fn give_up(&mut self) {
        if let Some(process) = self.process.take()
            && let Err(error) = process.child.end_now()
        {
            report::error(format_args!("ending the nursery: {error}"));
        }
    }

    /// Asks for a worker; at once if it is ready, else as soon as it is.
    pub(crate) fn spawn(&mut self, newborn: Newborn, now: Instant) -> io::Result<()> {
        let Newborn { id, slot, generation, channel, board, fork, output, primary: _ } = newborn;
        let spawn = Spawn { id, slot, generation, fork, board: board.is_some() };
        let bytes = rmp_serde::to_vec_named(&spawn).map_err(io::Error::other)?;
        if bytes.len() > LARGEST_SPAWN {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "its environment takes {} bytes, and no more than {LARGEST_SPAWN} can be handed to the nursery",
                    bytes.len()
                ),
            ));
        }
        self.births.insert(Id(id), Asked { slot, bytes, channel, board, output, told: None });
        self.ask(now);
        Ok(())
    }

    /// Its next answer.
    pub(crate) fn hear(&mut self, now: Instant) -> Option<Answer> {
        let process = self.process.as_mut()?;
        let mut bytes = [0; LARGEST];
        let received = scm::receive(&process.socket, &mut bytes, &mut Vec::new()).ok()?;
        if received.bytes == 0 {
            // It ends, and is given the time to say why; whatever else it may do, it is of no use any more.
            process.deaf_since.get_or_insert(now);
            return None;
        }
        let answer: Answer = decode(bytes.get(..received.bytes).filter(|bytes| !bytes.is_empty())?).ok()?;
        match &answer {
            Answer::Ready => {
                self.was_ready = true;
                process.ready = true;
            }
            Answer::Failed { why } => process.words = Some(why.clone()),
            Answer::Born { id, .. } => {
                if self.half_told.remove(&Id(*id)) {
                    return self.hear(now);
                }
                self.half_told.insert(Id(*id));
                self.streak.reset();
                self.births.remove(&Id(*id));
            }
            Answer::Unborn { id, .. } => drop(self.births.remove(&Id(*id))),
        }
        self.ask(now);
        Some(answer)
    }

    /// Tells it of the births that it has not been told of, as many as its socket takes: each answer makes room.
    fn ask(&mut self, now: Instant) {
        let Some(process) = self.process.as_ref().filter(|process| process.ready) else { return };
        for (id, asked) in self.births.iter_mut().filter(|(_, asked)| asked.told.is_none()) {
            let output = asked.output.iter().flat_map(|ends| [ends.out.as_fd(), ends.err.as_fd()]);
            let own = std::iter::once(&asked.channel).chain(&asked.board).map(AsFd::as_fd);
            let fds: Vec<_> = own.chain(output).collect();
            match scm::send_several(&process.socket, &asked.bytes, &fds) {
                Ok(_) => asked.told = Some(now),
                // A dead nursery's births are asked of the next.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::BrokenPipe) =>
                {
                    return;
                }
                Err(error) => {
                    report::error(format_args!(
                        "asking the nursery for worker {}: {error}; it is tried again",
                        id.0
                    ));
                    self.ask_at = Some(now + ASK_AGAIN_AFTER);
                    return;
                }
            }
        }
    }

    /// The births that the last nursery was told of, and did not answer: each is to be given another channel.
    pub(crate) fn renew(&mut self) -> Vec<Id> {
        self.births.iter_mut().filter_map(|(id, asked)| asked.told.take().map(|_| *id)).collect()
    }

    pub(crate) fn give(&mut self, id: Id, channel: OwnedFd) {
        if let Some(asked) = self.births.get_mut(&id) {
            asked.channel = channel;
        }
    }

    pub(crate) fn cancel(&mut self, id: Id) {
        self.births.remove(&id);
    }

    /// Another takes its place. It answers what it was asked, and goes. Yields the births that it will not answer.
    pub(crate) fn retire(&mut self, now: Instant) -> Vec<Id> {
        self.start_at = None;
        self.retired = Some(now + END_WITHIN);
        if let Some(process) = &self.process
            && rustix::net::shutdown(&process.socket, rustix::net::Shutdown::Write).is_err()
        {
            // Its end is on its way already, or comes now.
            process.kill();
        }
        // Of one that has ended already, nothing will be answered.
        let ended = self.is_gone();
        self.births.extract_if(.., |_, asked| ended || asked.told.is_none()).map(|(id, _)| id).collect()
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.is_some()
    }

    /// Its end, if it has ended, in words; it is started again later unless `stopping`. `Err`: there never was one
    /// that could preload, and there never will.
    pub(crate) fn reap(
        &mut self,
        stopping: bool,
        epoll: &Epoll,
        now: Instant,
    ) -> io::Result<Option<Result<String, Failed>>> {
        let Some(process) = &mut self.process else { return Ok(None) };
        let (told, status) = match process.child.reap() {
            // Somebody who traces it hears of its end first, and may keep it for as long as he likes: it is looked at now and then.
            Ok(None) => {
                if process.ended.replace(now).is_none() {
                    epoll.remove(&process.child)?;
                }
                return Ok(None);
            }
            Ok(Some(_)) if process.late => ("was not done in time (startup_timeout)".to_owned(), 1),
            Ok(Some(Status::Code(code))) => {
                let words = process.words.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
                (format!("exited with status {code}{words}"), code.max(1))
            }
            Ok(Some(Status::Signal(signal))) => (
                crate::event::Signal::from_raw(signal).map_or_else(
                    || format!("was killed by signal {signal}"),
                    |s| format!("was killed by {s}"),
                ),
                128 + signal,
            ),
            Err(error) => (format!("is lost: {error}"), 1),
        };
        self.unwatch(epoll)?;
        let known = std::mem::take(&mut self.half_told);
        if let Some(Process { socket, within, deaf_since: None, .. }) = self.process.take() {
            self.late.push(Latecomers::new(socket, known, within, now));
        }
        if stopping || self.is_retired() {
            return Ok(Some(Ok(told)));
        }
        if !self.was_ready {
            return Ok(Some(Err(Failed { told, status })));
        }
        self.start_at = Some(now + self.streak.lengthen(u64::from(status.unsigned_abs())));
        Ok(Some(Ok(told)))
    }

    /// When it is to be started, or has taken too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = self.process.as_ref().and_then(|process| {
            if let Some(ended) = process.ended {
                // Also of one that was late: nothing else may happen by which it would be reaped.
                return Some(ended + END_WITHIN);
            }
            if process.late {
                return None;
            }
            if self.retired.is_some() {
                return self.retired;
            }
            if let Some(deaf) = process.deaf_since {
                return Some(deaf + END_WITHIN);
            }
            let since = match process.ready {
                false => Some(process.started),
                true => self.births.values().filter_map(|asked| asked.told).min(),
            };
            since.map(|since| since + process.within)
        });
        let late = self.late.iter().map(|late| late.look_at);
        self.start_at.into_iter().chain(due).chain(self.ask_at).chain(late).min()
    }

    /// Whether it is to be started now. Kills one that takes too long, be it for preload or for a birth.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        self.late.retain_mut(|late| late.end(now));
        if self.ask_at.take_if(|at| *at <= now).is_some() {
            self.ask(now);
        }
        if self.start_at.is_some_and(|at| at <= now) {
            return true;
        }
        if self.deadline().is_some_and(|deadline| deadline <= now)
            && let Some(process) = self.process.as_mut().filter(|process| process.ended.is_none())
        {
            process.late = true;
            process.kill();
        }
        false
    }

    /// It could not be started; it is to be tried again.
    pub(crate) fn later(&mut self, now: Instant) {
        self.start_at = Some(now + self.streak.lengthen(0).max(Duration::from_millis(100)));
    }

    /// No more births. Yields those that are now not to be.
    pub(crate) fn stop(&mut self) -> Vec<Id> {
        self.start_at = None;
        if let Some(process) = &self.process {
            process.kill();
        }
        std::mem::take(&mut self.births).into_keys().collect()
    }

    /// Ends it at once, and waits for that.
    pub(crate) fn end_now(&self) -> io::Result<()> {
        self.process.as_ref().map_or(Ok(()), |process| process.child.end_now())
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.process.is_none()
    }

    /// Whether it was asked for a worker, and has not answered.
    pub(crate) fn is_at_work(&self) -> bool {
        self.births.values().any(|asked| asked.told.is_some())
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.child.pid())
    }

    pub(crate) fn process(&self) -> Option<&Child> {
        self.process.as_ref().map(|process| &process.child)
    }

    /// Whether there is none, and none is to come.
    pub(crate) fn is_idle(&self) -> bool {
        self.process.is_none() && self.start_at.is_none()
    }

    /// There is to be none for now. Yields what was asked of it, and in which slot.
    pub(crate) fn forgo(&mut self) -> Vec<(Id, usize)> {
        self.start_at = None;
        std::mem::take(&mut self.births).into_iter().map(|(id, asked)| (id, asked.slot)).collect()
    }
}

/// Why there will be no worker.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) told: String,
    pub(crate) status: i32,
}

impl Process {
    fn kill(&self) {
        if let Err(error) = self.child.signal(libc::SIGKILL) {
            report::error(format_args!("ending the nursery: {error}"));
        }
    }
}

#[cfg(test)]
#[path = "nursery_tests.rs"]
mod tests;
