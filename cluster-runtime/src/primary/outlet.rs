//! The primary's own standard output and error, written to without ever waiting.
//!
//! Both may be shared with other programs, so O_NONBLOCK, which would be theirs too, is never set on them: what has a name
//! in /proc is opened once more. What is not taken waits here, and meanwhile nothing more is read from the workers.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SendFlags;

use super::lines::Stream;
use super::source::Source;
use crate::report;
use crate::sys::epoll::{Epoll, Interest};

/// With so many bytes waiting, nothing more is read.
const FULL: usize = 64 * 1024;

/// What dying workers printed last is taken beyond that, up to this.
const MOST: usize = 4 * 1024 * 1024;

/// How long the end of the program waits for somebody to read.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// Both; one, where they are the same pipe or terminal, so that no line of one comes into the middle of the other's.
#[derive(Debug)]
pub(super) struct Outlets {
    outlets: Vec<Outlet>,
}

#[derive(Debug)]
struct Outlet {
    file: File,
    way: Way,
    waiting: Vec<u8>,
    written: usize,
    /// Bytes there was no room for.
    lost: usize,
    /// Whoever reads it has gone, or the disk is full; told once.
    failing: bool,
    /// In the epoll set.
    awaited: bool,
}

/// How it is kept from blocking.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// It never does.
    File,
    /// It was opened anew and told not to.
    Anew,
    Socket,
    /// It could not be opened anew: a pipe of another user's, say. What is ready for writing takes [`PIPE_BUF`].
    Asked,
}

/// What a pipe takes at once or not at all, whoever else writes to it.
const PIPE_BUF: usize = 4096;

impl Outlets {
    pub(super) fn open() -> io::Result<Outlets> {
        let out = Outlet::new(io::stdout().as_fd().try_clone_to_owned()?, "/proc/self/fd/1")?;
        let err = Outlet::new(io::stderr().as_fd().try_clone_to_owned()?, "/proc/self/fd/2")?;
        let identity =
            |outlet: &Outlet| outlet.file.metadata().map(|file| (file.dev(), file.ino(), file.is_file()));
        let (one, other) = (identity(&out)?, identity(&err)?);
        let outlets = if one == other && !one.2 { vec![out] } else { vec![out, err] };
        Ok(Outlets { outlets })
    }

    /// Standard error alone.
    pub(super) fn of_stderr() -> io::Result<Outlets> {
        let err = Outlet::new(io::stderr().as_fd().try_clone_to_owned()?, "/proc/self/fd/2")?;
        Ok(Outlets { outlets: vec![err] })
    }

    /// Whether all is written.
    pub(super) fn is_empty(&self, stream: Stream) -> bool {
        self.outlets[self.index(stream)].left() == 0
    }

    fn index(&self, stream: Stream) -> usize {
        match stream {
            Stream::Stdout => 0,
            Stream::Stderr => self.outlets.len() - 1,
        }
    }

    /// What was not taken yet, by index.
    pub(super) fn waiting(&self) -> Vec<Vec<u8>> {
        self.outlets.iter().map(|outlet| outlet.waiting[outlet.written..].to_vec()).collect()
    }

    /// Writes on what an image before this one had begun: half a line, maybe, so before anything else.
    pub(super) fn go_on(&mut self, waiting: impl IntoIterator<Item = Vec<u8>>) {
        // From the last on: that is standard error, and may be the only one.
        let waiting: Vec<_> = waiting.into_iter().collect();
        for (outlet, bytes) in self.outlets.iter_mut().rev().zip(waiting.into_iter().rev()) {
            outlet.waiting = bytes;
        }
    }

    /// Writes what waits, as far as it is taken.
    pub(super) fn flush(&mut self) {
        self.outlets.iter_mut().for_each(Outlet::flush);
    }

    /// Has a whole line written, by the next [`flush`](Outlets::flush) or later.
    pub(super) fn write(&mut self, stream: Stream, line: &[u8]) {
        let index = self.index(stream);
        self.outlets[index].push(line);
    }

    /// Whether nothing more is to be read for it.
    pub(super) fn is_full(&self, stream: Stream) -> bool {
        self.outlets[self.index(stream)].left() >= FULL
    }

    /// One can be written to again.
    pub(super) fn writable(&mut self, index: usize) {
        if let Some(outlet) = self.outlets.get_mut(index) {
            outlet.flush();
        }
    }

    /// Waits for those on which something waits, and no longer for the others.
    pub(super) fn arm(&mut self, epoll: &Epoll) -> io::Result<()> {
        for (index, outlet) in self.outlets.iter_mut().enumerate() {
            let wanted = outlet.left() > 0;
            if wanted == outlet.awaited {
                continue;
            }
            if wanted {
                epoll.add(&outlet.file, Source::Outlet(index).name(), Interest::Write)?;
            } else {
                epoll.remove(&outlet.file)?;
            }
            outlet.awaited = wanted;
        }
        Ok(())
    }

    /// At the end: gives whoever reads a moment.
    pub(super) fn finish(&mut self) {
        let until = Instant::now() + LAST_WORDS_WITHIN;
        for outlet in &mut self.outlets {
            if let Err(error) = outlet.finish(until) {
                report::error(format_args!("what workers printed last is lost: {error}"));
            }
        }
    }
}

impl Outlet {
    fn new(own: OwnedFd, path: &str) -> io::Result<Outlet> {
        let own = File::from(own);
        let kind = own.metadata()?.file_type();
        let anew = || {
            let mut options = OpenOptions::new();
            options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
        };
        let (file, way) = if kind.is_file() {
            (own, Way::File)
        } else if kind.is_socket() {
            (own, Way::Socket)
        } else {
            anew().map_or((own, Way::Asked), |file| (file, Way::Anew))
        };
        let (waiting, written, lost) = (Vec::new(), 0, 0);
        Ok(Outlet { file, way, waiting, written, lost, failing: false, awaited: false })
    }

    fn left(&self) -> usize {
        self.waiting.len() - self.written
    }

    fn push(&mut self, line: &[u8]) {
        if self.left() + line.len() > MOST {
            self.flush();
        }
        if self.left() + line.len() > MOST {
            self.lost += line.len();
            return;
        }
        self.waiting.extend_from_slice(line);
    }

    fn flush(&mut self) {
        while self.left() > 0 {
            match self.write() {
                Ok(taken) => {
                    self.written += taken;
                    self.failing = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        report::error(format_args!(
                            "writing on what workers print: {error}; until it can be, it is lost"
                        ));
                    }
                    self.written = self.waiting.len();
                }
            }
        }
        self.waiting.clear();
        self.waiting.shrink_to(FULL);
        self.written = 0;
        match std::mem::take(&mut self.lost) {
            0 => {}
            lost => report::error(format_args!(
                "{lost} bytes that workers printed are lost: nobody read them in time"
            )),
        }
    }

    /// As much as is taken at once.
    fn write(&self) -> io::Result<usize> {
        let bytes = self.next();
        match self.way {
            Way::File | Way::Anew => (&self.file).write(bytes),
            Way::Socket => {
                Ok(rustix::net::send(&self.file, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
            }
            Way::Asked if wait(&self.file, Duration::ZERO)? => (&self.file).write(bytes),
            Way::Asked => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// As many whole lines as go at once, so that nothing that others write there comes into the middle of one.
    fn next(&self) -> &[u8] {
        let all = &self.waiting[self.written..];
        if self.way == Way::File {
            return all;
        }
        let most = &all[..all.len().min(PIPE_BUF)];
        most.iter().rposition(|byte| *byte == b'\n').map_or(most, |end| &most[..=end])
    }

    fn finish(&mut self, until: Instant) -> io::Result<()> {
        self.flush();
        while self.left() > 0 {
            if !wait(&self.file, until.saturating_duration_since(Instant::now()))? {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it"));
            }
            self.flush();
        }
        Ok(())
    }
}

/// Whether it is ready for writing, or will be in time. An error is found by writing.
fn wait(file: &File, within: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::new(file, PollFlags::OUT)];
    let within = Timespec { tv_sec: within.as_secs().cast_signed(), tv_nsec: within.subsec_nanos().into() };
    Ok(poll(&mut fds, Some(&within))? > 0)
}
