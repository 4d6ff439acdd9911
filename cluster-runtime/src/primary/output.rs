//! What workers print, where it does not go where the primary's goes: a pipe for each of a worker's two streams, read line by
//! line.
//!
//! A worker that floods is held up by its own full pipe: each is read once a turn, and not at all while the primary's own
//! output takes nothing.
//!
//! Where it goes where the primary's goes, a worker that is to replace another still has a pipe for its standard error until it
//! is ready, so that it is known what it said if it never is. Then it is given the primary's own, and passes on itself what is
//! still in the pipe (`worker/stderr.rs`): so nothing comes out of order. The pipe stays: a process that the worker has started may have it, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, PipeReader, Read, pipe};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use super::desk::Worker;
use super::lines::{Line, Lines, Stream};
use super::outlet::Outlets;
use super::slot::Id;
use super::source::Source;
use super::words::Tail;
use super::{Loop, desk, hub};
use crate::config::Output;
use crate::ipc::message::ToWorker;
use crate::report;
use crate::sys::epoll::{Epoll, Interest};

pub(crate) mod saved;

/// Bytes read at a time.
const READ: usize = 16 * 1024;

/// The same of what is passed on as it comes: all that a pipe can hold, so that what was written at once is not cut.
const ALL: usize = 64 * 1024;

/// What a worker has for its standard output and error.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) out: OwnedFd,
    pub(crate) err: OwnedFd,
}

impl Ends {
    /// In a worker that has just been forked.
    pub(crate) fn take_on(self) -> io::Result<()> {
        rustix::stdio::dup2_stdout(&self.out)?;
        Ok(rustix::stdio::dup2_stderr(&self.err)?)
    }
}

/// The primary's ends of all pipes.
#[derive(Debug)]
pub(super) struct Outputs {
    mode: Output,
    taps: BTreeMap<(Id, Stream), Tap>,
    /// What each said last to its standard error, while it lives and we read it.
    tails: BTreeMap<Id, Tail>,
    outlets: Option<Outlets>,
    /// Who is ready, and was not told yet that it may print by itself.
    ready: BTreeSet<Id>,
    /// Something was changed about a tap since it was last looked who is to be heard.
    stirred: bool,
    /// Which of the outlets were full then.
    full: [bool; 2],
}

#[derive(Debug)]
struct Tap {
    pipe: PipeReader,
    lines: Lines,
    /// Its worker is born.
    wanted: bool,
    /// In the epoll set.
    heard: bool,
    /// Nothing where it is cut into lines; else it is passed on as it comes.
    watch: Option<Watch>,
}

/// How far a worker has come to print by itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Watch {
    /// The inode is its pipe's.
    Unready(u64),
    /// It is to be told as soon as all that was read is written.
    Ready(u64),
    /// It was, and passes on what is in the pipe: nobody else reads it now.
    Told,
    /// It does.
    Over,
}

impl Outputs {
    pub(super) fn new(mode: Output) -> io::Result<Outputs> {
        let outlets = if mode == Output::Tagged { Some(Outlets::open()?) } else { None };
        Ok(Outputs {
            mode,
            taps: BTreeMap::new(),
            tails: BTreeMap::new(),
            outlets,
            ready: BTreeSet::new(),
            stirred: true,
            full: [false; 2],
        })
    }

    /// Makes what a worker that is to be born prints to; `beside` one whose place it is to take.
    pub(super) fn open(&mut self, id: Id, beside: bool) -> io::Result<Option<Ends>> {
        match self.mode {
            // A terminal makes programs print in another way than a pipe does.
            Output::Inherit if beside && !io::stderr().is_terminal() => {
                Ok(self.watch(id).unwrap_or_else(|error| {
                    report::warn(format_args!(
                        "if worker {} fails, what it says is not told again: {error}",
                        id.0
                    ));
                    None
                }))
            }
            Output::Inherit => Ok(None),
            Output::Null => {
                let null = || OpenOptions::new().write(true).open("/dev/null").map(OwnedFd::from);
                Ok(Some(Ends { out: null()?, err: null()? }))
            }
            Output::Tagged | Output::Captured => {
                let ((out, their_out), (err, their_err)) = (pipe()?, pipe()?);
                for (stream, pipe) in [(Stream::Stdout, out), (Stream::Stderr, err)] {
                    // Only this end: a worker that prints too much is to wait.
                    rustix::io::ioctl_fionbio(&pipe, true)?;
                    let (wanted, heard) = (false, false);
                    let tap = Tap { pipe, lines: Lines::default(), wanted, heard, watch: None };
                    self.taps.insert((id, stream), tap);
                }
                self.tails.insert(id, Tail::default());
                Ok(Some(Ends { out: their_out.into(), err: their_err.into() }))
            }
        }
    }

    fn watch(&mut self, id: Id) -> io::Result<Option<Ends>> {
        let out = io::stdout().as_fd().try_clone_to_owned()?;
        let (pipe, theirs) = pipe()?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        // Both ends in one: so that it is never one that nobody reads, which would kill whoever writes when we are gone.
        let path = format!("/proc/self/fd/{}", theirs.as_raw_fd());
        let err = OpenOptions::new().read(true).write(true).open(path)?;
        if self.outlets.is_none() {
            self.outlets = Some(Outlets::of_stderr()?);
        }
        let (lines, wanted, heard) = (Lines::default(), false, false);
        let watch = Some(Watch::Unready(err.metadata()?.ino()));
        self.taps.insert((id, Stream::Stderr), Tap { pipe, lines, wanted, heard, watch });
        self.tails.insert(id, Tail::default());
        Ok(Some(Ends { out, err: err.into() }))
    }

    /// It is ready, and may print by itself.
    pub(super) fn ready(&mut self, id: Id) {
        let watch = self.taps.get_mut(&(id, Stream::Stderr)).and_then(|tap| tap.watch.as_mut());
        if let Some(watch) = watch
            && let Watch::Unready(pipe) = *watch
        {
            *watch = Watch::Ready(pipe);
            self.ready.insert(id);
        }
    }

    /// Tells those that may, once nothing of theirs waits here.
    pub(super) fn hand_over(&mut self) {
        if self.ready.is_empty()
            || self.outlets.as_ref().is_none_or(|outlets| !outlets.is_empty(Stream::Stderr))
        {
            return;
        }
        self.ready.retain(|id| {
            let tap = self.taps.get_mut(&(*id, Stream::Stderr));
            let Some(Tap { watch: Some(watch), .. }) = tap else { return false };
            let Watch::Ready(pipe) = *watch else { return false };
            // Where descriptors are short, it goes on as it is until they are not.
            let Ok(own) = io::stderr().as_fd().try_clone_to_owned() else { return true };
            hub::tell(*id, &ToWorker::Stderr { pipe }, Some(own));
            *watch = Watch::Told;
            self.stirred = true;
            false
        });
    }

    /// It prints by itself, or will not; what still comes is of others.
    pub(super) fn handed_over(&mut self, id: Id) {
        if let Some(Tap { watch: Some(watch @ Watch::Told), .. }) = self.taps.get_mut(&(id, Stream::Stderr)) {
            *watch = Watch::Over;
            self.tails.remove(&id);
            self.stirred = true;
        }
    }

    /// Listens to it from now on.
    pub(super) fn attend(&mut self, id: Id) {
        self.stirred = true;
        self.of(id).for_each(|(_, tap)| tap.wanted = true);
    }

    fn of(&mut self, id: Id) -> impl Iterator<Item = (Stream, &mut Tap)> {
        self.taps
            .range_mut((id, Stream::Stdout)..=(id, Stream::Stderr))
            .map(|((_, stream), tap)| (*stream, tap))
    }

    /// Waits for what is wanted and can be passed on, and for nothing else: a pipe whose worker is gone would be reported for
    /// ever.
    pub(super) fn arm(&mut self, epoll: &Epoll) -> io::Result<()> {
        let is_full = |stream| self.outlets.as_ref().is_some_and(|outlets| outlets.is_full(stream));
        let full = [is_full(Stream::Stdout), is_full(Stream::Stderr)];
        if std::mem::take(&mut self.stirred) || full != self.full {
            self.full = full;
            self.arm_taps(epoll)?;
        }
        if let Some(outlets) = &mut self.outlets {
            outlets.arm(epoll)?;
            if self.mode == Output::Inherit && self.taps.is_empty() && outlets.is_empty(Stream::Stderr) {
                self.outlets = None;
            }
        }
        Ok(())
    }

    fn arm_taps(&mut self, epoll: &Epoll) -> io::Result<()> {
        for ((id, stream), tap) in &mut self.taps {
            let full = self.full[usize::from(*stream == Stream::Stderr)];
            let wanted = tap.wanted && !full && tap.watch != Some(Watch::Told);
            if wanted == tap.heard {
                continue;
            }
            match wanted {
                true => epoll.add(&tap.pipe, Source::Output(*id, *stream).name(), Interest::Read)?,
                false => epoll.remove(&tap.pipe)?,
            }
            tap.heard = wanted;
        }
        Ok(())
    }

    /// Looks once at what it has printed.
    fn read(&mut self, id: Id, stream: Stream, epoll: &Epoll) -> io::Result<Vec<Line>> {
        if self.outlets.as_ref().is_some_and(|outlets| outlets.is_full(stream)) {
            return Ok(Vec::new());
        }
        let Some(tap) = self.taps.get_mut(&(id, stream)) else { return Ok(Vec::new()) };
        let (mut lines, more) = tap.read(stream, tap.most(), self.tails.get_mut(&id), self.outlets.as_mut());
        if !more {
            lines.extend(tap.lines.end(stream));
            // It has closed it, and goes on without.
            self.hang_up(id, stream, epoll)?;
        }
        Ok(lines)
    }

    /// All that is in its pipes: it is dead; and what it said last. A process that it started may print on, and is not
    /// waited for.
    fn last_words(&mut self, id: Id, epoll: &Epoll) -> io::Result<(Vec<Line>, String)> {
        let mut lines = Vec::new();
        let Outputs { taps, tails, outlets, .. } = self;
        for ((_, stream), tap) in taps.range_mut((id, Stream::Stdout)..=(id, Stream::Stderr)) {
            let stream = *stream;
            let mut left = usize::try_from(rustix::io::ioctl_fionread(&tap.pipe)?).unwrap_or(usize::MAX);
            while left > 0 {
                let most = left.min(tap.most());
                let (read, more) = tap.read(stream, most, tails.get_mut(&id), outlets.as_mut());
                lines.extend(read);
                left = if more { left - most } else { 0 };
            }
            lines.extend(tap.lines.end(stream));
            tap.watch = tap.watch.map(|_| Watch::Over);
        }
        self.stirred = true;
        let said = self.tails.remove(&id).map(|tail| tail.text()).unwrap_or_default();
        if self.mode != Output::Inherit {
            self.close(id, epoll)?;
        }
        Ok((lines, said))
    }

    fn hang_up(&mut self, id: Id, stream: Stream, epoll: &Epoll) -> io::Result<()> {
        match self.taps.remove(&(id, stream)) {
            Some(tap) if tap.heard => epoll.remove(&tap.pipe),
            _ => Ok(()),
        }
    }

    /// Listens to it no more.
    pub(super) fn close(&mut self, id: Id, epoll: &Epoll) -> io::Result<()> {
        self.tails.remove(&id);
        self.hang_up(id, Stream::Stdout, epoll)?;
        self.hang_up(id, Stream::Stderr, epoll)
    }

    /// Writes it on, where that is wanted.
    fn write(&mut self, worker: &Worker, line: &Line) {
        // There may be some yet of an image before this one, with another mode.
        let Some(outlets) = self.outlets.as_mut().filter(|_| self.mode == Output::Tagged) else { return };
        let (slot, pid, generation) = (worker.slot(), worker.pid(), worker.generation());
        let cut = if line.cut { " …" } else { "" };
        let mut tagged = format!("[slot {slot} · pid {pid} · gen {generation}{cut}] ").into_bytes();
        tagged.extend_from_slice(&line.bytes);
        tagged.push(b'\n');
        outlets.write(line.stream, &tagged);
    }

    pub(super) fn writable(&mut self, outlet: usize) {
        if let Some(outlets) = &mut self.outlets {
            outlets.writable(outlet);
        }
    }

    /// At the end.
    pub(super) fn finish(&mut self) {
        if let Some(outlets) = &mut self.outlets {
            outlets.finish();
        }
    }
}

impl Tap {
    /// How many bytes to read at a time.
    fn most(&self) -> usize {
        if self.watch.is_some() { ALL } else { READ }
    }

    /// Reads at most `most`; false at its end.
    fn read(
        &mut self,
        stream: Stream,
        most: usize,
        tail: Option<&mut Tail>,
        outlets: Option<&mut Outlets>,
    ) -> (Vec<Line>, bool) {
        let mut bytes = vec![0; most];
        match self.pipe.read(&mut bytes) {
            Ok(read) => {
                let bytes = &bytes[..read];
                if let Some(tail) = tail.filter(|_| stream == Stream::Stderr) {
                    tail.push(bytes);
                }
                match (self.watch, outlets) {
                    (None, _) => (self.lines.push(stream, bytes), read > 0),
                    (Some(_), outlets) => {
                        if let Some(outlets) = outlets {
                            outlets.write(stream, bytes);
                        }
                        (Vec::new(), read > 0)
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (Vec::new(), true),
            Err(error) => {
                report::error(format_args!("reading what a worker prints: {error}; it is read no more"));
                (Vec::new(), false)
            }
        }
    }
}

impl Loop {
    pub(super) fn listen_to_output(&mut self, id: Id, stream: Stream) -> io::Result<()> {
        let lines = self.outputs.read(id, stream, &self.epoll)?;
        self.printed(id, lines);
        Ok(())
    }

    /// Yields what it said last to its standard error, where we read it.
    pub(super) fn last_output(&mut self, id: Id) -> io::Result<String> {
        let (lines, said) = self.outputs.last_words(id, &self.epoll)?;
        self.printed(id, lines);
        Ok(said)
    }

    fn printed(&mut self, id: Id, lines: Vec<Line>) {
        for line in lines {
            let worker = desk::worker(id);
            self.outputs.write(&worker, &line);
            self.callbacks.printed(&worker, &line);
        }
        if let Some(outlets) = &mut self.outputs.outlets {
            outlets.flush();
        }
    }

    /// What was asked for about output, and can't be done, is said at once.
    pub(super) fn check_output(&self) {
        match (self.settings.output, self.callbacks.hears_output()) {
            (Output::Captured, false) => report::warn(format_args!(
                "output = \"captured\" without an on_output: what workers print is lost; write \"null\" if it is to be"
            )),
            (Output::Inherit | Output::Null, true) => report::warn(format_args!(
                "on_output is never called: write output = \"captured\" or \"tagged\" to have what workers print read"
            )),
            _ => {}
        }
    }
}
