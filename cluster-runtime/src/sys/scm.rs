//! Descriptors carried over a Unix socket (`SCM_RIGHTS`).
//!
//! Sent ones are borrowed: the message holds its own reference. Received ones are owned before anything else
//! is looked at, are CLOEXEC from their first moment, and a truncated message closes what did arrive.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
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

/// As [`send`], with up to three.
pub(crate) fn send_several(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
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

/// Receives into `buffer`, appending every descriptor to `fds`; never blocks.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<Received> {
    // The room of the largest message the kernel allows, so that truncation can mean only one thing: no
    // descriptor could be installed.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = ancillary {
            fds.extend(received);
        }
    }
    Ok(Received { bytes: message.bytes, lost_fds: message.flags.contains(ReturnFlags::CTRUNC) })
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
}
