//! Descriptors carried over a Unix socket (`SCM_RIGHTS`).
//!
//! Sent ones are borrowed: the message holds its own reference. Received ones are owned before anything else
//! is looked at, are CLOEXEC from their first moment, and a truncated message closes what did arrive.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};

/// A connected pair that keeps message boundaries: the lane.
pub(crate) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    pair(SocketType::SEQPACKET)
}

/// A connected pair of byte streams: the channel.
pub(crate) fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    pair(SocketType::STREAM)
}

fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, kind, flags, None)?)
}

/// Sends `bytes` with at most one descriptor; never blocks, never raises SIGPIPE. Yields how many bytes went.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    send_several(socket, bytes, fd.as_slice())
}

/// As [`send`], with up to four.
pub(crate) fn send_several(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("more descriptors than the control buffer was made for"));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    loop {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// What one receive brought.
#[derive(Debug)]
pub(crate) struct Received {
    /// 0 means the other side is gone.
    pub(crate) bytes: usize,
    /// The kernel had descriptors for us that it could not install: our limit is reached, they are lost.
    pub(crate) lost_fds: bool,
}

/// Bytes of control messages: as many descriptors as the kernel allows in one, and what options of the socket may add to them,
/// so that truncation can mean only one thing: no descriptor could be installed.
const ROOM: usize = 2048;

/// What SO_PASSPIDFD adds to each message; libc has no name for it.
const SCM_PIDFD: libc::c_int = 4;

/// Receives into `buffer`, appending every descriptor that was sent to `fds`; never blocks.
///
/// By hand, where a library passes over what it does not know: whoever has the same socket may have set an option on it that has
/// the kernel add a descriptor to each message, and that one must not be left open.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<Received> {
    let mut room = MaybeUninit::<[u64; ROOM / 8]>::uninit();
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all fields of a msghdr may be 0; some systems have more of them than are named here.
    #[allow(unsafe_code)]
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = room.as_mut_ptr().cast();
    message.msg_controllen = ROOM as _;
    let socket = socket.as_fd();
    let bytes = loop {
        // SAFETY: each pointer is to memory that lives on this stack, or in `buffer`, of the length that is said.
        #[allow(unsafe_code)]
        let read = unsafe {
            libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT)
        };
        match usize::try_from(read) {
            Ok(bytes) => break bytes,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    };
    // SAFETY: the kernel has written `msg_controllen` bytes of whole headers and what belongs to them, which these macros walk.
    // Each descriptor in them is new, and nobody's yet.
    #[allow(unsafe_code, clippy::unnecessary_cast, reason = "musl has another type for lengths")]
    unsafe {
        let mut head = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(libc::cmsghdr { cmsg_level, cmsg_type, cmsg_len, .. }) = head.as_ref() {
            let (rights, pidfd) = (*cmsg_type == libc::SCM_RIGHTS, *cmsg_type == SCM_PIDFD);
            if *cmsg_level == libc::SOL_SOCKET && (rights || pidfd) {
                let numbers = libc::CMSG_DATA(head).cast::<libc::c_int>();
                let length = (*cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                for n in 0..length / size_of::<libc::c_int>() {
                    // In place of a pidfd there may be an error.
                    match numbers.add(n).read_unaligned() {
                        number if number < 0 => {}
                        number if rights => fds.push(OwnedFd::from_raw_fd(number)),
                        number => drop(OwnedFd::from_raw_fd(number)),
                    }
                }
            }
            head = libc::CMSG_NXTHDR(&raw const message, head);
        }
    }
    Ok(Received { bytes, lost_fds: message.msg_flags & libc::MSG_CTRUNC != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_arrives_with_its_message_and_is_cloexec() {
        let (a, b) = packet_pair().unwrap();
        let (sent, _keep) = stream_pair().unwrap();
        assert_eq!(send(&a, b"x", Some(sent.as_fd())).unwrap(), 1);
        let (mut buffer, mut fds) = ([0; 8], Vec::new());
        let received = receive(&b, &mut buffer, &mut fds).unwrap();
        assert_eq!((received.bytes, received.lost_fds, fds.len()), (1, false, 1));
        let flags = rustix::io::fcntl_getfd(&fds[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn the_other_side_gone_reads_as_zero_bytes_and_an_empty_one_as_would_block() {
        let (a, b) = packet_pair().unwrap();
        let error = receive(&b, &mut [0; 8], &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(a);
        assert_eq!(receive(&b, &mut [0; 8], &mut Vec::new()).unwrap().bytes, 0);
        let error = send(&b, b"x", None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    /// What a worker may do to the end of a lane that the primary reads back from.
    #[test]
    fn a_descriptor_that_an_option_of_the_socket_adds_is_closed() {
        const SO_PASSPIDFD: libc::c_int = 76;
        let (a, b) = packet_pair().unwrap();
        for option in [SO_PASSPIDFD, libc::SO_PASSCRED] {
            let on: libc::c_int = 1;
            // SAFETY: the value lives for the call, and has the length that is said.
            #[allow(unsafe_code)]
            let set = unsafe {
                libc::setsockopt(b.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const on).cast(), 4)
            };
            if set != 0 {
                println!("skipped: this kernel has no SO_PASSPIDFD");
                return;
            }
        }
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        for _ in 0..600 {
            send(&a, b"x", Some(a.as_fd())).unwrap();
            let mut fds = Vec::new();
            let received = receive(&b, &mut [0; 8], &mut fds).unwrap();
            assert_eq!((received.bytes, received.lost_fds, fds.len()), (1, false, 1));
        }
        // Other tests run beside this one.
        assert!(open() < before + 300, "they are left open");
    }
}
