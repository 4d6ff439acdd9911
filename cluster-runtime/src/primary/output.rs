//! What workers print, where it does not go where the primary's goes: a pipe for each of a worker's two streams, read line by
//! line.
//!
//! A worker that floods is held up by its own full pipe: each is read once a turn, and not at all while the primary's own
//! output takes nothing.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, PipeReader, Read, pipe};
use std::os::fd::OwnedFd;

use super::desk::Worker;
use super::lines::{Line, Lines, Stream};
use super::outlet::Outlets;
use super::slot::Id;
use super::source::Source;
use super::{Loop, desk};
use crate::config::Output;
use crate::report;
use crate::sys::epoll::{Epoll, Interest};

pub(crate) mod saved;

/// Bytes read at a time.
const READ: usize = 16 * 1024;

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
    outlets: Option<Outlets>,
}

#[derive(Debug)]
struct Tap {
    pipe: PipeReader,
    lines: Lines,
    /// Its worker is born.
    wanted: bool,
    /// In the epoll set.
    heard: bool,
}

impl Outputs {
    pub(super) fn new(mode: Output) -> io::Result<Outputs> {
        let outlets = if mode == Output::Tagged { Some(Outlets::open()?) } else { None };
        Ok(Outputs { mode, taps: BTreeMap::new(), outlets })
    }

    /// Makes what a worker that is to be born prints to.
    pub(super) fn open(&mut self, id: Id) -> io::Result<Option<Ends>> {
        match self.mode {
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
                    let tap = Tap { pipe, lines: Lines::default(), wanted: false, heard: false };
                    self.taps.insert((id, stream), tap);
                }
                Ok(Some(Ends { out: their_out.into(), err: their_err.into() }))
            }
        }
    }

    /// Listens to it from now on.
    pub(super) fn attend(&mut self, id: Id) {
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
        for ((id, stream), tap) in &mut self.taps {
            let full = self.outlets.as_ref().is_some_and(|outlets| outlets.is_full(*stream));
            let wanted = tap.wanted && !full;
            if wanted == tap.heard {
                continue;
            }
            match wanted {
                true => epoll.add(&tap.pipe, Source::Output(*id, *stream).name(), Interest::Read)?,
                false => epoll.remove(&tap.pipe)?,
            }
            tap.heard = wanted;
        }
        self.outlets.as_mut().map_or(Ok(()), |outlets| outlets.arm(epoll))
    }

    /// Looks once at what it has printed.
    fn read(&mut self, id: Id, stream: Stream, epoll: &Epoll) -> io::Result<Vec<Line>> {
        if self.outlets.as_ref().is_some_and(|outlets| outlets.is_full(stream)) {
            return Ok(Vec::new());
        }
        let Some(tap) = self.taps.get_mut(&(id, stream)) else { return Ok(Vec::new()) };
        let (mut lines, more) = tap.read(stream, READ);
        if !more {
            lines.extend(tap.lines.end(stream));
            // It has closed it, and goes on without.
            self.hang_up(id, stream, epoll)?;
        }
        Ok(lines)
    }

    /// All that is in its pipes: it is dead. A process that it started may print on, and is not waited for.
    fn last_words(&mut self, id: Id, epoll: &Epoll) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        for (stream, tap) in self.of(id) {
            let mut left = usize::try_from(rustix::io::ioctl_fionread(&tap.pipe)?).unwrap_or(usize::MAX);
            while left > 0 {
                let most = left.min(READ);
                let (read, more) = tap.read(stream, most);
                lines.extend(read);
                left = if more { left - most } else { 0 };
            }
            lines.extend(tap.lines.end(stream));
        }
        self.close(id, epoll)?;
        Ok(lines)
    }

    fn hang_up(&mut self, id: Id, stream: Stream, epoll: &Epoll) -> io::Result<()> {
        match self.taps.remove(&(id, stream)) {
            Some(tap) if tap.heard => epoll.remove(&tap.pipe),
            _ => Ok(()),
        }
    }

    /// Listens to it no more.
    pub(super) fn close(&mut self, id: Id, epoll: &Epoll) -> io::Result<()> {
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
    /// Reads at most `most`; false at its end.
    fn read(&mut self, stream: Stream, most: usize) -> (Vec<Line>, bool) {
        let mut bytes = [0; READ];
        match self.pipe.read(&mut bytes[..most]) {
            Ok(read) => (self.lines.push(stream, &bytes[..read]), read > 0),
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

    pub(super) fn last_output(&mut self, id: Id) -> io::Result<()> {
        let lines = self.outputs.last_words(id, &self.epoll)?;
        self.printed(id, lines);
        Ok(())
    }

    fn printed(&mut self, id: Id, lines: Vec<Line>) {
        let worker = desk::worker(id);
        for line in lines {
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
