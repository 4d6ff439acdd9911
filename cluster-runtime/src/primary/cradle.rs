//! The nursery's own side: it preloads, and forks workers when it is asked to.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

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
                Err(error) if is_end(&error) => std::process::exit(0),
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
                    match self.say(&Answer::Born { id, pid: std::process::id() }) {
                        // The nursery has told of it, and the primary has another image since, or another nursery: nobody hears this
                        // any more, and it is known.
                        Err(error) if is_end(&error) => {}
                        said => said?,
                    }
                    if is_hung_up(&channel) {
                        // This came too late: another was asked for since, and nobody would hear a word of its code.
                        std::process::exit(0);
                    }
                    return Ok(Newborn { id, slot, generation, channel, board, primary, fork, output });
                }
                Ok(Birth::Parent { child }) => self.answer(&Answer::Born { id: spawn.id, pid: child })?,
                Err(error) => self.answer(&Answer::Unborn { id: spawn.id, why: error.to_string() })?,
            }
        }
    }

    /// In the nursery, which ends where nobody hears it.
    fn answer(&self, answer: &Answer) -> io::Result<()> {
        match self.say(answer) {
            Err(error) if is_end(&error) => std::process::exit(0),
            said => said,
        }
    }

    fn say(&self, answer: &Answer) -> io::Result<()> {
        let bytes = rmp_serde::to_vec_named(answer).map_err(io::Error::other)?;
        loop {
            match scm::send(&self.socket, &bytes, None) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(&self.socket, PollFlags::OUT)?;
                }
                sent => return sent.map(|_| ()),
            }
        }
    }
}

/// The primary has closed its end, maybe with answers that it had not read.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn is_hung_up(channel: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(channel, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec::default())).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

fn wait_readable(socket: &OwnedFd) -> io::Result<()> {
    wait(socket, PollFlags::IN)
}

/// Without a deadline: the primary's end, or its word, ends it.
fn wait(socket: &OwnedFd, what: PollFlags) -> io::Result<()> {
    let mut fds = [PollFd::new(socket, what)];
    match poll(&mut fds, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
