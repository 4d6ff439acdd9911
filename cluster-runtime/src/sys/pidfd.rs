//! A process that can be waited for, signalled and reaped without ever meeting a stranger that took its pid.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};

/// A child of this process. Readable when it has ended.
#[derive(Debug)]
pub(crate) struct Child {
    fd: OwnedFd,
    pid: u32,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Status {
    Code(i32),
    Signal(i32),
}

impl Child {
    /// `pid` must be a child of this process that has not been reaped: only so it can't be another's by now.
    fn new(pid: u32) -> io::Result<Child> {
        Ok(Child { fd: pidfd_open(checked(pid)?, PidfdFlags::empty())?, pid })
    }

    /// A child that has ended, and was not reaped; nothing if it lives, or is none of ours any more.
    pub(crate) fn that_died(pid: u32) -> io::Result<Option<Child>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // From here to the pidfd a zombie keeps its number, if this thread alone reaps.
        match waitid(WaitId::Pid(checked(pid)?), options) {
            Ok(Some(_)) => Child::new(pid).map(Some),
            Ok(None) | Err(rustix::io::Errno::CHILD) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// One that this process watched before an exec, in which it keeps its children.
    pub(crate) fn adopt(pidfd: OwnedFd, pid: u32) -> Child {
        Child { fd: pidfd, pid }
    }

    /// Watches a child, or makes sure that there is none: one that can't be watched would be lost sight of.
    pub(crate) fn or_end(pid: u32) -> io::Result<Child> {
        Child::new(pid).inspect_err(|_| Child::end(pid))
    }

    /// Ends a child that nobody watches, and reaps it.
    pub(crate) fn end(pid: u32) {
        // Ours and not reaped, so the number is still its own; and a SIGKILL ends the wait.
        let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
        let ended = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
            .and_then(|()| nix::sys::wait::waitpid(pid, None));
        if let Err(error) = ended {
            crate::report::error(format_args!("ending the process {pid}, which can't be watched: {error}"));
        }
    }

    /// Ends it now, and reaps it.
    pub(crate) fn end_now(&self) -> io::Result<()> {
        self.signal(libc::SIGKILL)?;
        waitid(WaitId::PidFd(self.fd.as_fd()), WaitIdOptions::EXITED)?;
        Ok(())
    }

    /// Sends a signal, by number. A child that has ended already is no error: it is dead, as was wanted or not.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        let signal = rustix::process::Signal::from_named_raw(signal)
            .ok_or_else(|| io::Error::other("not a signal that has a name"))?;
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Collects the exit status; `None` while it lives.
    pub(crate) fn reap(&self) -> io::Result<Option<Status>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let Some(status) = waitid(WaitId::PidFd(self.fd.as_fd()), options)? else { return Ok(None) };
        Ok(Some(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Status::Code(code),
            (None, Some(signal)) => Status::Signal(signal),
            (None, None) => return Err(io::Error::other("a child ended neither by exit nor by a signal")),
        }))
    }
}

fn checked(pid: u32) -> io::Result<Pid> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::other("not a process id"))
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
