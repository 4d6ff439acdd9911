//! How a worker by exec learns that it is one: from the first frame on its channel, and from nothing else.
//!
//! No variable and no argument says so, since those are seen, kept and passed on by anybody. The new image looks among the
//! descriptors that it was started with for a stream socket which its own parent made and in which a birth waits. A process
//! that a worker starts finds none; one that was handed a copy of such a socket is not its maker's child.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::channel::decode;
use super::frame::{self, Decoder, Head, Kind};
use crate::sys::exec::{self, Inherited};
use crate::sys::{process, scm};

/// Who this process is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Birth {
    pub(crate) id: u64,
    pub(crate) slot: usize,
    pub(crate) generation: u64,
    /// The pid its parent must have.
    pub(crate) primary: u32,
    /// What the kernel called the primary: after an exec of `/proc/self/exe` it would say `exe`.
    pub(crate) name: String,
}

/// The largest birth, with its frame's head.
const LARGEST: usize = 1024;

/// Says it, on a channel on which nothing has been said before; its row goes with it.
pub(crate) fn tell(socket: impl AsFd, birth: &Birth, board: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let body = rmp_serde::to_vec_named(birth).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, Head::of(Kind::Birth, 0), false, &body);
    match scm::send(socket, &bytes, board)? {
        sent if sent == bytes.len() => Ok(()),
        _ => Err(io::Error::other("a new channel did not take the first message")),
    }
}

/// A birth, the worker's end of its channel, and its row.
pub(crate) type Taken = (Birth, OwnedFd, Option<OwnedFd>);

/// What this process was born to be. Does not return in a worker whose primary has died.
pub(crate) fn take() -> io::Result<Option<Taken>> {
    let Some(((birth, length), channel)) = exec::take(read)? else { return Ok(None) };
    // No more than that frame: what comes after it is the link's to read.
    let mut fds = Vec::new();
    let read = scm::receive(&channel, &mut [0; LARGEST][..length], &mut fds)?;
    match read.bytes == length {
        true => Ok(Some((birth, channel, fds.pop()))),
        false => Err(io::Error::other("somebody else has read what this worker was to be told at its birth")),
    }
}

/// Whether this process was born to be a worker and does not know yet.
pub(crate) fn is_due() -> bool {
    static DUE: OnceLock<bool> = OnceLock::new();
    // Without /proc nobody can be told apart, and nobody was started through it.
    *DUE.get_or_init(|| exec::find(read).is_ok_and(|found| found.is_some()))
}

/// The birth that waits in a socket, and the length of its frame.
fn read(socket: &Inherited<'_>) -> Option<(Birth, usize)> {
    let mut bytes = [0; LARGEST];
    let bytes = socket.peek(&mut bytes).ok()?;
    let mut decoder = Decoder::default();
    decoder.room()[..bytes.len()].copy_from_slice(bytes);
    decoder.filled(bytes.len());
    let frame = decoder.next().ok()?.filter(|frame| frame.head.kind == Kind::Birth)?;
    let birth: Birth = decode(&frame.body).ok().filter(|birth: &Birth| birth.primary == socket.maker)?;
    if process::parent() != birth.primary {
        if socket.is_hung_up().ok()? {
            // The primary died before this process could look, and it must not become one itself.
            process::exit_now(0);
        }
        return None;
    }
    Some((birth, frame::size_of(&frame)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::FdFlags;

    fn birth(primary: u32) -> Birth {
        Birth { id: 7, slot: 2, generation: 1, primary, name: "test".into() }
    }

    #[test]
    fn s07_a_birth_in_a_socket_that_the_parent_did_not_make_is_nobodys() {
        let (ours, theirs) = scm::stream_pair().unwrap();
        // Made by this very process, which is not its own parent, whatever is said in it.
        for primary in [std::process::id(), process::parent()] {
            tell(&ours, &birth(primary), None).unwrap();
            rustix::io::fcntl_setfd(&theirs, FdFlags::empty()).unwrap();
            assert!(take().unwrap().is_none() && !is_due());
        }
    }
}
