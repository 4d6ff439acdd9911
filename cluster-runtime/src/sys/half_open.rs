//! Who has begun to connect and is not in the backlog yet: the kernel has answered, and waits for a last word.

use std::io::{self, Read};
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// Of `linux/netlink.h`, `linux/sock_diag.h` and `linux/inet_diag.h`.
const SOCK_DIAG: i32 = 4;
const BY_FAMILY: u16 = 20;
const ERROR: u16 = 2;
const REQUEST_DUMP: u16 = 0x301;
/// What it is called to whoever asks, and what it is.
const SYN_RECEIVED: u32 = 1 << 3 | 1 << 12;

const HEADER: usize = 16;
const QUESTION: usize = HEADER + 56;

/// Whether there is anybody at this address; at its port, that is. The kernel may not tell.
pub(crate) fn is_anybody_at(address: SocketAddr) -> io::Result<bool> {
    // A socket of IPv6 may be one of IPv4 too.
    Ok(dump(libc::AF_INET, address.port())? || address.is_ipv6() && dump(libc::AF_INET6, address.port())?)
}

fn dump(family: i32, port: u16) -> io::Result<bool> {
    let kind = Type::DGRAM.cloexec().nonblocking();
    let mut socket = Socket::new(Domain::from(libc::AF_NETLINK), kind, Some(Protocol::from(SOCK_DIAG)))?;
    let mut question = Vec::with_capacity(QUESTION);
    question.extend(u32::try_from(QUESTION).unwrap_or(0).to_ne_bytes());
    question.extend(BY_FAMILY.to_ne_bytes());
    question.extend(REQUEST_DUMP.to_ne_bytes());
    question.extend([0; 8]);
    question.extend([u8::try_from(family).unwrap_or(0), libc::IPPROTO_TCP as u8, 0, 0]);
    question.extend(SYN_RECEIVED.to_ne_bytes());
    question.extend(port.to_be_bytes());
    question.resize(QUESTION - 8, 0);
    // No cookie.
    question.extend([u8::MAX; 8]);
    socket.send(&question)?;
    // The first message tells: it is of one of them, or the end, or of what is wrong.
    let mut answer = [0; 8192];
    let read = socket.read(&mut answer)?;
    match u16::from_ne_bytes([answer[4], answer[5]]) {
        BY_FAMILY => Ok(read > HEADER),
        ERROR => {
            let code = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
            Err(io::Error::from_raw_os_error(-code))
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::os::fd::OwnedFd;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use socket2::{SockFilter, SockRef};

    use super::*;
    use crate::sys::socket;

    /// Whether the kernel can be asked here; says so if not.
    pub(crate) fn tells() -> bool {
        let told = is_anybody_at(([127, 0, 0, 1], 1).into());
        told.inspect_err(|error| println!("skipped: the kernel does not tell who is half way in: {error}"))
            .is_ok()
    }

    /// Has the last word of whoever connects get lost.
    pub(crate) fn hold_up(listener: &OwnedFd) {
        let (load, and, ret) = (
            libc::BPF_LD | libc::BPF_B | libc::BPF_ABS,
            libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K,
            libc::BPF_RET | libc::BPF_K,
        );
        let only_syn = [
            SockFilter::new(load as u16, 0, 0, 13),
            SockFilter::new(and as u16, 1, 0, 2),
            SockFilter::new(ret as u16, 0, 0, 0),
            SockFilter::new(ret as u16, 0, 0, u32::MAX),
        ];
        SockRef::from(listener).attach_filter(&only_syn).unwrap();
    }

    /// Until he is in the backlog.
    pub(crate) fn comes(listener: &OwnedFd) {
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })), Ok(1));
    }

    #[test]
    fn who_is_half_way_in_is_seen_until_he_is_in() {
        if !tells() {
            return;
        }
        for local in ["127.0.0.1:0", "[::]:0"] {
            let listener = socket::listen_tcp(local.parse().unwrap(), 16, socket::Manner::default()).unwrap();
            let address = socket::address(&listener).unwrap().0.as_socket().unwrap();
            assert!(!is_anybody_at(address).unwrap());
            hold_up(&listener);
            let mut client = TcpStream::connect(("127.0.0.1", address.port())).unwrap();
            assert!(is_anybody_at(address).unwrap());
            socket::close_the_door(&listener).unwrap();
            client.write_all(b"x").unwrap();
            comes(&listener);
            assert!(!is_anybody_at(address).unwrap());
            assert!(socket::accept(&listener).is_ok());
        }
    }
}
