//! What can be observed of a worker.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where a worker listens. Node: the `address` of the event `listening`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[non_exhaustive]
pub enum Address {
    /// An IPv4 or IPv6 address and the real port, also where port 0 was asked for.
    Tcp(SocketAddr),
    /// A socket file, by its absolute path; or, after a first byte of 0, a name in the abstract namespace.
    Unix(PathBuf),
    /// As [`Tcp`](Address::Tcp), of a UDP socket.
    Udp(SocketAddr),
}

impl Address {
    /// Where a socket is bound.
    pub(crate) fn of(socket: &OwnedFd) -> io::Result<Address> {
        let (address, datagrams) = crate::sys::socket::address(socket)?;
        if let Some(path) = address.as_pathname() {
            return Ok(Address::Unix(path.to_owned()));
        }
        if let Some(name) = address.as_abstract_namespace() {
            return Ok(Address::Unix(OsStr::from_bytes(&[b"\0", name].concat()).into()));
        }
        let kind = if datagrams { Address::Udp } else { Address::Tcp };
        address.as_socket().map(kind).ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "neither TCP nor UDP nor a Unix socket with a name")
        })
    }

    /// Whether connections come from it.
    pub(crate) fn is_stream(&self) -> bool {
        !matches!(self, Address::Udp(_))
    }

    /// As it is written: `127.0.0.1:8000`, `[::]:80`, `unix:/run/app.sock`, `udp:0.0.0.0:53`.
    pub(crate) fn parse(text: &str) -> Option<Address> {
        match text.split_once(':') {
            Some(("unix", path)) => (!path.is_empty()).then(|| Address::Unix(path.into())),
            Some(("udp", address)) => address.parse().ok().map(Address::Udp),
            _ => text.parse().ok().map(Address::Tcp),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => match path.as_os_str().as_bytes() {
                [0, name @ ..] => write!(f, "unix:@{}", String::from_utf8_lossy(name)),
                _ => write!(f, "unix:{}", path.display()),
            },
            Address::Udp(address) => write!(f, "udp:{address}"),
        }
    }
}

/// What a worker is doing, as the primary sees it: it only ever moves on in this order, and may leave out what it does
/// not get to. Within a callback it is what the event has made of it. Node: `worker.state`.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum State {
    /// Asked for; the process may not exist yet, and has said nothing.
    #[default]
    None,
    /// Its code runs, as it has said itself: from the event `online` on.
    Online,
    /// It takes connections, or has said that it is [`ready`](crate::ThisWorker::ready): from its first event `listening` on.
    Listening,
    /// It has been told to finish, and takes no new connections: since a `disconnect` of either side, a SIGTERM, or the
    /// cluster's stop; also since it was killed because its time was over.
    Disconnecting,
    /// Its channel is closed, and nothing more will be heard of it but its end: from the event `disconnect` on.
    Disconnected,
    /// Its process has ended and is reaped: from the event `exit` on. Also what [`fork`](crate::fork) yields where no
    /// process was or will be made, as in a cluster that stops.
    Dead,
}

/// A signal, by its number.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Signal(i32);

macro_rules! signals {
    ($($name:ident = $number:ident),* $(,)?) => {
        impl Signal {
            $(#[doc = concat!("`", stringify!($number), "`.")] pub const $name: Signal = Signal(libc::$number);)*

            fn name(self) -> Option<&'static str> {
                match self.0 {
                    $(libc::$number => Some(stringify!($number)),)*
                    _ => None,
                }
            }
        }
    };
}

signals! {
    HUP = SIGHUP, INT = SIGINT, QUIT = SIGQUIT, ILL = SIGILL, TRAP = SIGTRAP, ABRT = SIGABRT, BUS = SIGBUS,
    FPE = SIGFPE, KILL = SIGKILL, USR1 = SIGUSR1, SEGV = SIGSEGV, USR2 = SIGUSR2, PIPE = SIGPIPE,
    ALRM = SIGALRM, TERM = SIGTERM, CHLD = SIGCHLD, CONT = SIGCONT, STOP = SIGSTOP, TSTP = SIGTSTP,
    TTIN = SIGTTIN, TTOU = SIGTTOU, XCPU = SIGXCPU, XFSZ = SIGXFSZ, WINCH = SIGWINCH, SYS = SIGSYS,
}

impl Signal {
    /// The signal of this number; `None` where the kernel has none (1 to 64 are).
    pub fn from_raw(number: i32) -> Option<Signal> {
        (1..=64).contains(&number).then_some(Signal(number))
    }

    /// Its number.
    pub fn as_raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a worker ended. Node: `code` and `signal` of the event `exit`, and `exitedAfterDisconnect`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exit {
    pub(crate) status: ExitStatus,
    pub(crate) reason: Reason,
    /// Its end was asked for, however it came.
    pub(crate) asked: bool,
    /// It was told to finish, by whomever.
    pub(crate) told: bool,
    pub(crate) lived: Duration,
    /// Of one that failed before it had served.
    pub(crate) said: String,
}

/// Code or signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ExitStatus {
    Code(i32),
    Signal(Signal),
    /// It could not be born, or another process took its status.
    Unknown,
}

/// Why a worker ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// It was asked to: by `disconnect`, [there](crate::Worker::disconnect) or [here](crate::ThisWorker::disconnect), or
    /// because the cluster stops.
    Asked,
    /// Another has its place, by a reload or since it was worn ([`max_requests`](crate::Cluster::max_requests) and the like), and it has
    /// finished what it had.
    Replaced,
    /// `main` returned, or the program exited, with status 0, unasked. Also what follows a SIGTERM to the worker alone.
    Finished,
    /// It exited with another status after it had been ready.
    Failed,
    /// It ended before it was ready to serve.
    NotStarted,
    /// A signal ended it.
    Killed,
    /// It was not ready, or not done, within its time, and the primary killed it.
    TimedOut,
    /// One of its serving threads gave no sign of life for [`heartbeat_timeout`](crate::Cluster::heartbeat_timeout), so the
    /// primary told it to leave, and killed it if it did not.
    Stalled,
}

impl Exit {
    /// Its exit code, unless a signal ended it. Node: `code`.
    pub fn code(&self) -> Option<i32> {
        match self.status {
            ExitStatus::Code(code) => Some(code),
            _ => None,
        }
    }

    /// The signal that ended it. Node: `signal`.
    pub fn signal(&self) -> Option<Signal> {
        match self.status {
            ExitStatus::Signal(signal) => Some(signal),
            _ => None,
        }
    }

    /// Whether the end was asked for, also where the worker was not done in time and had to be killed. Such a worker is
    /// not respawned. Node: `worker.exitedAfterDisconnect`.
    pub fn exited_after_disconnect(&self) -> bool {
        self.asked
    }

    /// Why it ended.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// How long it lived, from the fork until the primary reaped it.
    pub fn lived(&self) -> Duration {
        self.lived
    }

    /// What it printed last to its standard error, at most ten lines and 2 KiB of it, where it failed before it had served
    /// anybody, and the primary could read it: with [`Output::Tagged`](crate::Output::Tagged) or
    /// [`Captured`](crate::Output::Captured), and of a worker that was to replace another. Empty otherwise. Such a replacement
    /// prints by way of the primary until it is ready, unless that is to a terminal. Node has no word for it.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// The status a program ends with that ends because of this: the code, or 128 + the signal.
    pub(crate) fn program_status(&self) -> i32 {
        match self.status {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => 128 + signal.as_raw(),
            ExitStatus::Unknown => 1,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            ExitStatus::Code(code) => write!(f, "exited with status {code}")?,
            ExitStatus::Signal(signal) => write!(f, "was killed by {signal}")?,
            ExitStatus::Unknown => f.write_str("could not be started")?,
        }
        write!(f, " after {:.1?}", self.lived)?;
        match (self.reason, self.signal()) {
            (Reason::NotStarted, _) => f.write_str(", before it was ready"),
            (Reason::Stalled, _) => f.write_str(", since it gave no sign of life"),
            (Reason::TimedOut, _) => f.write_str(", since its time was over"),
            (Reason::Killed, Some(Signal::KILL)) => f.write_str(" (out of memory?)"),
            (Reason::Asked, _) => f.write_str(", as it was asked to"),
            (Reason::Replaced, _) => f.write_str(", replaced by a new one"),
            _ => Ok(()),
        }?;
        if self.said.is_empty() { Ok(()) } else { write!(f, ": it said: {:?}", self.said) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_it_is_written() {
        for text in ["127.0.0.1:8000", "[::1]:80", "unix:/run/a.sock", "udp:[::]:53"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        for text in ["localhost:80", "127.0.0.1", "unix:", "udp:", "tcp:127.0.0.1:80"] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
        let name = Address::Unix("\0name".into());
        assert_eq!(name.to_string(), "unix:@name");
    }

    #[test]
    fn p02_six_ends_read_as_six_reports() {
        let lived = Duration::from_millis(1500);
        let exit = |status, reason| Exit {
            status,
            reason,
            asked: reason == Reason::Asked,
            lived,
            told: false,
            said: String::new(),
        };
        let ends = [
            exit(ExitStatus::Code(0), Reason::Asked),
            exit(ExitStatus::Code(0), Reason::Finished),
            exit(ExitStatus::Code(42), Reason::Failed),
            exit(ExitStatus::Code(1), Reason::NotStarted),
            exit(ExitStatus::Signal(Signal::TERM), Reason::Killed),
            exit(ExitStatus::Signal(Signal::KILL), Reason::Killed),
        ];
        let told: Vec<_> = ends.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "exited with status 0 after 1.5s, as it was asked to",
                "exited with status 0 after 1.5s",
                "exited with status 42 after 1.5s",
                "exited with status 1 after 1.5s, before it was ready",
                "was killed by SIGTERM after 1.5s",
                "was killed by SIGKILL after 1.5s (out of memory?)",
            ]
        );
    }
}
