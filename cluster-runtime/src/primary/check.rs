//! The program on disk is asked whether it could take over: run as a child, by the very descriptor that would be executed later,
//! with this process's arguments and environment. It answers on a socket and ends; whatever else it does is an answer, too.
//!
//! What it finds is what `start` would find in the primary's place: so that most of what can be wrong with a program is known
//! while nothing has changed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use super::source::Source;
use super::step::Input;
use super::{Loop, Turn};
use crate::event::Signal;
use crate::ipc::check;
use crate::report;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::pidfd::{Child, Status};
use crate::sys::signal::Signals;
use crate::sys::{exec, program, scm};

/// One that runs.
#[derive(Debug)]
pub(super) struct Check {
    child: Child,
    socket: OwnedFd,
    program: OwnedFd,
}

impl Check {
    /// Starts it.
    pub(super) fn start(
        path: &Path,
        state: impl AsFd,
        signals: &Signals,
        epoll: &Epoll,
    ) -> io::Result<Check> {
        let program = program::open(path)?;
        let (ours, theirs) = scm::stream_pair()?;
        check::ask(&ours, state)?;
        let child = Child::or_end(exec::try_out(&program, theirs.as_fd(), signals)?)?;
        if let Err(error) = epoll.add(&child, Source::Check.name(), Interest::End) {
            child.end_now()?;
            return Err(error);
        }
        Ok(Check { child, socket: ours, program })
    }

    /// Its answer is of no use any more: it took too long, or the cluster stops. What is left is to be reaped.
    pub(super) fn abandon(self) -> Child {
        if let Err(error) = self.child.signal(libc::SIGKILL) {
            report::error(format_args!("ending the program that is asked whether it can take over: {error}"));
        }
        self.child
    }

    /// What it answered, once it has ended; the program itself if it is fit.
    fn ended(self, status: Status) -> Result<OwnedFd, String> {
        match status {
            Status::Signal(signal) => Err(Signal::from_raw(signal).map_or_else(
                || format!("it was killed by signal {signal}"),
                |signal| format!("it was killed by {signal}"),
            )),
            Status::Code(code) => match check::answer(&self.socket) {
                Ok(fit) if code == 0 => {
                    report::info(format_args!(
                        "upgrade: the program on disk can take over ({}, state {})",
                        fit.build, fit.state
                    ));
                    Ok(self.program)
                }
                Ok(_) => Err(format!("it answered, and exited with status {code}")),
                Err(_) if code != 0 => Err(format!("it exited with status {code}")),
                Err(why) => Err(why),
            },
        }
    }
}

impl Loop {
    /// Asks the program on disk.
    pub(super) fn check(&mut self) -> Turn {
        let path = self.upgrading.path().to_owned();
        let started = self.write_state(false, None, Instant::now()).and_then(|written| {
            Check::start(&path, &written.memory, &self.signals, &self.epoll)
                .map_err(|error| error.to_string())
        });
        match started {
            Ok(check) => {
                report::info(format_args!("upgrade: asking {} whether it can take over", path.display()));
                self.upgrading.check = Some(check);
                Ok(())
            }
            Err(why) => self.step(Input::Checked(Err(format!("{}: {why}", path.display())))),
        }
    }

    /// A program that was asked has ended: the one whose answer is waited for, or one before it, of which nobody wants to know.
    pub(super) fn check_ended(&mut self) -> Turn {
        for child in self.upgrading.abandoned.extract_if(.., |child| !matches!(child.reap(), Ok(None))) {
            self.epoll.remove(&child)?;
        }
        let Some(check) = &self.upgrading.check else { return Ok(()) };
        let reaped = match check.child.reap() {
            Ok(None) => return Ok(()),
            // A callback has waited for any child, and has met this one.
            Err(error) => Err(format!("how it ended is not known: {error}")),
            Ok(Some(status)) => Ok(status),
        };
        self.epoll.remove(&check.child)?;
        let path = self.upgrading.path().display().to_string();
        let Some(check) = self.upgrading.check.take() else { return Ok(()) };
        match reaped.and_then(|status| check.ended(status)) {
            Ok(program) => {
                self.upgrading.program = Some(program);
                self.step(Input::Checked(Ok(())))
            }
            Err(why) => self.step(Input::Checked(Err(format!("{path}: {why}")))),
        }
    }
}
