//! In a fixture's workers: the channel to the primary, taken hold of behind the library's back.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::net::sockopt::{socket_domain, socket_peercred, socket_type};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, getppid, pidfd_getfd, pidfd_open};

/// A duplicate of this worker's end of its channel: the one stream between Unix sockets whose other end is its parent's.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn channel() -> OwnedFd {
    let me = pidfd_open(getpid(), PidfdFlags::empty()).expect("a pidfd of this process");
    let open = |fd| pidfd_getfd(&me, fd, PidfdGetfdFlags::empty()).ok();
    (3..100).filter_map(open).find(is_channel).expect("a worker has a channel")
}

fn is_channel(fd: &OwnedFd) -> bool {
    let fd = fd.as_fd();
    socket_domain(fd) == Ok(AddressFamily::UNIX)
        && socket_type(fd) == Ok(SocketType::STREAM)
        && socket_peercred(fd).is_ok_and(|peer| Some(peer.pid) == getppid())
}

/// The bytes of a frame as it travels.
#[must_use]
pub fn frame(kind: u8, number: u64, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a short body");
    [&len.to_le_bytes()[..], &[kind, 0, 0, 0], &number.to_le_bytes(), body].concat()
}

/// Writes all of it, however long it takes.
///
/// # Errors
/// When nobody reads any more.
pub fn write_all(channel: &OwnedFd, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(channel, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::AGAIN) => {
                rustix::event::poll(&mut [PollFd::new(channel, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
