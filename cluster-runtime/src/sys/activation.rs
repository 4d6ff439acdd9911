//! Sockets that a service manager has opened for this program and passed on at its start: sd_listen_fds(3).
//!
//! They are believed once, in the process that they were meant for, and the variables that tell of them are removed:
//! an image that this process turns into later has the same pid, and other descriptors.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use rustix::io::FdFlags;

use super::{inherited, process, socket};
use crate::event::Address;
use crate::report;

/// The number of the first.
const FIRST: RawFd = 3;

/// What one is called that nobody has named, as in sd_listen_fds_with_names(3).
const NAMELESS: &str = "unknown";

const VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// One of them. Ours from now on; others may have it too.
#[derive(Debug)]
struct Activated {
    socket: OwnedFd,
    name: String,
    address: Address,
}

static ACTIVATED: Mutex<Vec<Activated>> = Mutex::new(Vec::new());

/// Takes what is meant for this process, where the descriptors that it was started with are noted. What is no socket that
/// can be served is left where it is, and told of.
pub(crate) fn take() -> io::Result<()> {
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    if VARIABLES.iter().all(|name| variable(name).is_none()) {
        return Ok(());
    }
    let open = |number| inherited::was_open(number);
    let (meant, doubts) = meant_for(std::process::id(), variable, open);
    doubts.iter().for_each(|doubt| report::warn(format_args!("socket activation: {doubt}")));
    for (number, name) in meant {
        match adopt(number, name) {
            Ok(activated) => lock(|all| all.push(activated)),
            Err(error) => report::warn(format_args!(
                "socket activation: descriptor {number} is passed over: {error}; it takes sockets that listen, and UDP"
            )),
        }
    }
    if process::threads()? > 1 {
        // They may be reading the environment at this moment.
        report::warn(format_args!(
            "LISTEN_FDS stays in the environment: other threads run. Start the cluster before them"
        ));
        return Ok(());
    }
    VARIABLES.iter().for_each(|name| process::set_variable(name.as_ref(), None));
    Ok(())
}

/// Which descriptors are meant for the process `pid`, each with its name; and what is odd about what was said. Pure.
fn meant_for(
    pid: u32,
    variable: impl Fn(&str) -> Option<String>,
    is_open: impl Fn(RawFd) -> bool,
) -> (Vec<(RawFd, String)>, Vec<String>) {
    let (mut meant, mut doubts) = (Vec::new(), Vec::new());
    if variable("LISTEN_PID").and_then(|value| value.parse().ok()) != Some(pid) {
        // For a parent of ours, or a child that we are not: no error.
        return (meant, doubts);
    }
    let count = variable("LISTEN_FDS").unwrap_or_default();
    let Some(end) = count.parse::<RawFd>().ok().filter(|n| *n >= 0).and_then(|n| n.checked_add(FIRST)) else {
        doubts.push(format!("LISTEN_FDS={count:?} is no number of descriptors; none is taken"));
        return (meant, doubts);
    };
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').filter(|_| !names.is_empty());
    for number in FIRST..end {
        if !is_open(number) {
            doubts.push(format!(
                "LISTEN_FDS={count}, and descriptor {number} is not open; nothing is taken from there on"
            ));
            break;
        }
        meant.push((number, names.next().unwrap_or(NAMELESS).to_owned()));
    }
    (meant, doubts)
}

fn adopt(number: RawFd, name: String) -> io::Result<Activated> {
    let copy = inherited::duplicate(number)?;
    // Looked at before it is taken: what is not for us stays whoever's it is.
    let address = Address::of(&copy)?;
    match address.is_stream() {
        true => socket::prepare_adopted(&copy)?,
        false => socket::prepare_adopted_udp(&copy)?,
    }
    // SAFETY: it is open, and was before this program's first instruction; LISTEN_PID says that it was opened for this very
    // process, so that nobody else in it has it for its own.
    #[allow(unsafe_code)]
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    Ok(Activated { socket, name, address })
}

/// The one that is bound where somebody wants to bind, duplicated.
pub(crate) fn at(wanted: &Address) -> io::Result<Option<OwnedFd>> {
    lock(|all| {
        let exact = all.iter().find(|activated| is_same(&activated.address, wanted));
        let found = exact.or_else(|| all.iter().find(|activated| includes(activated, wanted)));
        found.map(|activated| copy(&activated.socket)).transpose()
    })
}

/// The first that has this name, and is or is not one of streams, duplicated.
pub(crate) fn called(name: &str, stream: bool) -> io::Result<OwnedFd> {
    lock(|all| {
        let found = all.iter().find(|one| one.name == name && one.address.is_stream() == stream);
        found.map_or_else(|| Err(nobody(name, all)), |activated| copy(&activated.socket))
    })
}

fn nobody(name: &str, all: &[Activated]) -> io::Error {
    let there: Vec<_> = all.iter().map(|one| format!("{} ({})", one.name, one.address)).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    let message = format!(
        "no socket called {name:?} was passed to this program (LISTEN_FDS); there are: {there}. In a socket unit, \
         FileDescriptorName= names it"
    );
    io::Error::new(io::ErrorKind::NotFound, message)
}

/// In a child: they are the primary's.
pub(crate) fn leave() {
    lock(Vec::clear);
}

fn is_same(bound: &Address, wanted: &Address) -> bool {
    match (bound, wanted) {
        (Address::Unix(bound), Address::Unix(wanted)) if bound != wanted => {
            // `/run` and `/var/run` are two ways to one file.
            let file = |path| std::fs::canonicalize(path).ok();
            file(bound).is_some_and(|bound| Some(bound) == file(wanted))
        }
        _ => bound == wanted,
    }
}

/// A socket of `[::]` is one of all IPv4 addresses too, unless it says no: what `ListenStream=80` makes.
fn includes(activated: &Activated, wanted: &Address) -> bool {
    let (bound, wanted) = match (&activated.address, wanted) {
        (Address::Tcp(bound), Address::Tcp(wanted)) | (Address::Udp(bound), Address::Udp(wanted)) => {
            (bound, wanted)
        }
        _ => return false,
    };
    let everywhere = bound.is_ipv6() && bound.ip().is_unspecified();
    everywhere
        && wanted.is_ipv4()
        && wanted.ip().is_unspecified()
        && wanted.port() == bound.port()
        && socket::takes_ipv4(&activated.socket)
}

fn copy(socket: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(socket, FIRST)?)
}

fn lock<T>(look: impl FnOnce(&mut Vec<Activated>) -> T) -> T {
    look(&mut ACTIVATED.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(variables: &[(&str, &str)], open: RawFd) -> (Vec<(RawFd, String)>, usize) {
        let variable =
            |asked: &str| variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).into());
        let (meant, doubts) = meant_for(7, variable, |number| number < 3 + open);
        (meant, doubts.len())
    }

    fn some(names: &[&str]) -> Vec<(RawFd, String)> {
        (3..).zip(names.iter().map(ToString::to_string)).collect()
    }

    /// Mutation: take them whoever LISTEN_PID names.
    #[test]
    fn p115_what_is_meant_for_another_process_is_passed_over() {
        for pid in [None, Some(""), Some("8"), Some("-7"), Some("x"), Some("7x"), Some("99999999999999")] {
            let pid = pid.map(|pid| ("LISTEN_PID", pid));
            let said: Vec<_> = pid.into_iter().chain([("LISTEN_FDS", "1")]).collect();
            assert_eq!(meant(&said, 1), (Vec::new(), 0), "{said:?}");
        }
        assert_eq!(meant(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "1")], 1), (some(&["unknown"]), 0));
    }

    /// Mutation: count up to whatever is said; take a number that leads to nothing.
    #[test]
    fn s09_what_can_not_be_is_told_of_and_nothing_else() {
        for count in ["-1", "x", "", "99999999999999999999", "2147483647"] {
            assert_eq!(meant(&[("LISTEN_PID", "7"), ("LISTEN_FDS", count)], 9), (Vec::new(), 1), "{count}");
        }
        assert_eq!(meant(&[("LISTEN_PID", "7")], 9), (Vec::new(), 1));
        assert_eq!(meant(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "0")], 9), (Vec::new(), 0));
        // As many as there are, at most.
        assert_eq!(
            meant(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "1000000000")], 2),
            (some(&["unknown"; 2]), 1)
        );
    }

    #[test]
    fn names_belong_to_descriptors_in_their_order() {
        let said = |names| [("LISTEN_PID", "7"), ("LISTEN_FDS", "3"), ("LISTEN_FDNAMES", names)];
        assert_eq!(meant(&said("a:b:c"), 3).0, some(&["a", "b", "c"]));
        assert_eq!(meant(&said("a::c:d"), 3).0, some(&["a", "", "c"]));
        assert_eq!(meant(&said("a"), 3).0, some(&["a", "unknown", "unknown"]));
        assert_eq!(meant(&said(""), 3).0, some(&["unknown"; 3]));
    }

    /// Mutation: compare ports alone; take one of IPv6 alone for one of IPv4.
    #[test]
    fn p114_an_address_is_that_of_a_socket_or_is_in_it() {
        let listen = |address: &str, manner| {
            let socket = socket::listen_tcp(address.parse().unwrap(), 1, manner).unwrap();
            Activated { address: Address::of(&socket).unwrap(), socket, name: String::new() }
        };
        let (both, alone) =
            (socket::Manner::default(), socket::Manner { ipv6_only: Some(true), reuse_port: false });
        for (bound, manner, wanted, same, included) in [
            ("127.0.0.1:0", both, "127.0.0.1", true, false),
            ("127.0.0.1:0", both, "0.0.0.0", false, false),
            ("0.0.0.0:0", both, "127.0.0.1", false, false),
            ("[::]:0", both, "[::]", true, false),
            ("[::]:0", both, "0.0.0.0", false, true),
            ("[::]:0", both, "127.0.0.1", false, false),
            ("[::]:0", alone, "0.0.0.0", false, false),
        ] {
            let bound = listen(bound, manner);
            let Address::Tcp(address) = &bound.address else { panic!("{bound:?}") };
            let at = |port| Address::Tcp(format!("{wanted}:{port}").parse().unwrap());
            assert_eq!(is_same(&bound.address, &at(address.port())), same, "{bound:?} {wanted}");
            assert_eq!(includes(&bound, &at(address.port())), included, "{bound:?} {wanted}");
            assert!(!is_same(&bound.address, &at(1)) && !includes(&bound, &at(1)));
        }
    }
}
