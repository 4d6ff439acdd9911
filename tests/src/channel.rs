//! In a fixture's workers: the channel to the primary, taken hold of behind the library's back.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::sockopt::{socket_domain, socket_peercred, socket_type};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::net::{sendmsg, socketpair};
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

/// Begins a frame that comes with `sent`, and never ends it: the primary keeps both until it does.
///
/// # Errors
/// When nobody reads any more.
pub fn begin_with(channel: &OwnedFd, sent: &OwnedFd) -> std::io::Result<()> {
    // All but its body, a byte long.
    let mut begun = frame(1, 0, b"x")[..16].to_vec();
    begun[5] = 1;
    let (mut space, sent) = ([MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))], [sent.as_fd()]);
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&sent));
    Ok(sendmsg(channel, &[IoSlice::new(&begun)], &mut control, SendFlags::NOSIGNAL).map(drop)?)
}

/// What an image that takes over looks for, made by this worker.
#[must_use]
pub fn forged(what: &str) -> Option<OwnedFd> {
    match what {
        "state" => Some(forged_state()),
        "question" => Some(forged_question()),
        _ => None,
    }
}

/// What looks like the state that an image of the primary leaves for the next, and is this worker's.
fn forged_state() -> OwnedFd {
    let primary = getppid().expect("a primary").as_raw_nonzero().get().to_le_bytes();
    let head = [&b"\x89clustr\n"[..], &[2, 0, 0, 0], &[0; 4], &primary, &[0xff; 4], &[0; 12]].concat();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = memfd_create("cluster-state", flags).expect("a memory file");
    assert_eq!(rustix::io::write(&memory, &head), Ok(head.len()));
    fcntl_add_seals(&memory, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)
        .expect("seal it");
    memory
}

/// What looks like the socket of a child whose primary has asked it something and is gone.
fn forged_question() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a pair of sockets");
    let me = u32::try_from(getpid().as_raw_nonzero().get()).expect("a pid").to_be_bytes();
    // A map of two, as MessagePack has it.
    let check = [&b"\x82\xa7primary\xce"[..], &me, b"\xa8protocol\x01"].concat();
    write_all(&ours, &frame(8, 0, &check)).expect("ask");
    theirs
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
