//! The nursery's own side: it preloads, and forks workers when it is asked to.

use std::io;
use std::os::fd::OwnedFd;

use super::nursery::{Answer, LARGEST_SPAWN, Spawn};
use super::output::Ends;
use super::{Newborn, Preload};
use crate::ipc::channel::decode;
use crate::report;
use crate::sys::fork::{self, Birth};
use crate::sys::signal::{self, Signals};
use crate::sys::{process, scm};

/// How much of what a failed preload says is told.
const LONGEST_WORDS: usize = 1000;

/// The nursery's side, before it has preloaded.
pub(crate) struct Cradle {
    pub(super) socket: OwnedFd,
    pub(super) primary: u32,
}

impl Cradle {
    /// Preloads, then forks on request. Returns in each worker; in the nursery, never.
    pub(crate) fn serve(self, preload: Preload, signals: Signals) -> Newborn {
        match self.try_serve(preload, signals) {
            Ok(newborn) => newborn,
            Err(error) => {
                report::error(format_args!("the nursery ends: {error}"));
                std::process::exit(1)
            }
        }
    }

    /// Borrowed, so that its end of the socket closes only with the process: the primary takes that for its end.
    fn try_serve(&self, preload: Preload, signals: Signals) -> io::Result<Newborn> {
        signal::ignore_terminal()?;
        let mask = signals.before();
        signals.restore()?;
        process::signal_on_parent_death()?;
        if process::parent() != self.primary {
            std::process::exit(0);
        }
        process::forget_service_manager();
        if let Err(why) = preload() {
            let told: String = why.chars().take(LONGEST_WORDS).collect();
            self.answer(&Answer::Failed { why: told })?;
            return Err(io::Error::other(format!("preload failed: {why}")));
        }
        fork::single_threaded().map_err(|error| {
            io::Error::other(format!(
                "preload left a thread running: {error}; let preload join what it starts"
            ))
        })?;
        self.answer(&Answer::Ready)?;
        loop {
            wait_readable(&self.socket)?;
            let (mut bytes, mut fds) = (vec![0; LARGEST_SPAWN], Vec::new());
            let received = match scm::receive(&self.socket, &mut bytes, &mut fds) {
                Ok(received) if received.bytes == 0 => std::process::exit(0),
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            let spawn: Spawn = decode(&bytes[..received.bytes]).map_err(io::Error::other)?;
            let mut fds = fds.into_iter();
            let channel = fds.next();
            let board = if spawn.board { fds.next() } else { None };
            let (out, err) = (fds.next(), fds.next());
            let Some(channel) = channel.filter(|_| !received.lost_fds) else {
                let why =
                    "its channel was lost: the limit of open files (RLIMIT_NOFILE) is reached".to_owned();
                self.answer(&Answer::Unborn { id: spawn.id, why })?;
                continue;
            };
            let output = out.zip(err).map(|(out, err)| Ends { out, err });
            // A worker that is told to leave before it has handlers is to leave, and not to be killed by it.
            signal::hold(&mask)?;
            let born = fork::fork_sibling();
            if !matches!(born, Ok(Birth::Child)) {
                signal::release()?;
            }
            match born {
                Ok(Birth::Child) => {
                    let Spawn { id, slot, generation, fork, board: _ } = spawn;
                    let primary = self.primary;
                    // First of all, since the nursery may be gone by now. With the socket it is known until then that somebody is there.
                    self.answer(&Answer::Born { id, pid: std::process::id() })?;
                    return Ok(Newborn { id, slot, generation, channel, board, primary, fork, output });
                }
                Ok(Birth::Parent { child }) => self.answer(&Answer::Born { id: spawn.id, pid: child })?,
                Err(error) => self.answer(&Answer::Unborn { id: spawn.id, why: error.to_string() })?,
            }
        }
    }

    fn answer(&self, answer: &Answer) -> io::Result<()> {
        let bytes = rmp_serde::to_vec_named(answer).map_err(io::Error::other)?;
        loop {
            match scm::send(&self.socket, &bytes, None) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(&self.socket, rustix::event::PollFlags::OUT)?;
                }
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
                sent => return sent.map(|_| ()),
            }
        }
    }
}

fn wait_readable(socket: &OwnedFd) -> io::Result<()> {
    wait(socket, rustix::event::PollFlags::IN)
}

/// Without a deadline: the primary's end, or its word, ends it.
fn wait(socket: &OwnedFd, what: rustix::event::PollFlags) -> io::Result<()> {
    let mut fds = [rustix::event::PollFd::new(socket, what)];
    match rustix::event::poll(&mut fds, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
