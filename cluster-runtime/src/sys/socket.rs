//! Listening sockets: made, adopted, accepted from, and closed without a reset.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, SockAddr, SockFilter, SockRef, Socket, Type};

/// How many clients may wait until they are accepted, where nobody says: what tokio asks for.
pub(crate) const BACKLOG: u32 = 1024;

/// How a socket is bound, where it is not as usual.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Where nothing is said, the system's default.
    pub(crate) ipv6_only: Option<bool>,
    pub(crate) reuse_port: bool,
}

/// Binds and listens on a TCP address. SO_REUSEADDR, so that a program can come back at once after it ended.
pub(crate) fn listen_tcp(address: SocketAddr, backlog: u32, manner: Manner) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    bind(socket, address, manner, |socket| socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX)))
}

/// Lets others listen beside it, on the same address, which this process makes.
pub(crate) fn allow_beside(listener: &OwnedFd) -> io::Result<()> {
    SockRef::from(listener).set_reuse_port(true)
}

/// Binds and listens beside one that [allows](allow_beside) it; the kernel spreads connections over them.
pub(crate) fn listen_beside(listener: &OwnedFd, address: SocketAddr, backlog: u32) -> io::Result<OwnedFd> {
    let ipv6_only = if address.is_ipv6() { Some(SockRef::from(listener).only_v6()?) } else { None };
    listen_tcp(address, backlog, Manner { ipv6_only, reuse_port: true })
}

/// Whether connections come from it still. A Unix socket that was shut down calls itself a listener as before: only that it has
/// hung up, which epoll tells of for ever, shows it.
pub(crate) fn listens(listener: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(listener, PollFlags::empty())];
    let is_hung_up =
        poll(&mut fds, Some(&Timespec::default())).is_ok() && fds[0].revents().contains(PollFlags::HUP);
    !is_hung_up && SockRef::from(listener).is_listener().unwrap_or(true)
}

/// Has it listen no more, for whoever has it too. What waits in its backlog is reset, as by the last close.
pub(crate) fn listen_no_more(listener: &OwnedFd) {
    // One that was shut down by somebody else is so already.
    let _ = SockRef::from(listener).shutdown(std::net::Shutdown::Read);
}

/// Binds a UDP socket. Without SO_REUSEADDR, by which another program could take over what comes to it.
pub(crate) fn bind_udp(address: SocketAddr, manner: Manner) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking().cloexec(), None)?;
    bind(socket, address, manner, |_| Ok(()))
}

fn bind(
    socket: Socket,
    address: SocketAddr,
    Manner { ipv6_only, reuse_port }: Manner,
    then: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    match ipv6_only {
        Some(only) if address.is_ipv6() => socket.set_only_v6(only)?,
        Some(true) => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "ipv6_only is for IPv6 addresses"));
        }
        _ => {}
    }
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    then(&socket)?;
    Ok(socket.into())
}

/// Binds a path, which must be free, or a name in the abstract namespace, after a first byte of 0. To be listened on yet:
/// until then nobody can connect.
pub(crate) fn bind_unix(path: &Path) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// Begins to listen.
pub(crate) fn listen(socket: &OwnedFd, backlog: u32) -> io::Result<()> {
    SockRef::from(socket).listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

/// Whether somebody listens behind a socket file.
pub(crate) fn answers(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        // Its backlog is full: somebody is there. Or it is one of datagrams, of which nobody can tell.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a socket that came from elsewhere fit for the loop. Errors unless connections come from it.
pub(crate) fn prepare_adopted(socket: &OwnedFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if !socket.is_listener()? {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    socket.set_nonblocking(true)
}

/// Has accepting from it not wait. A socket that others have too has one such flag for all of them, and any may have
/// taken it back.
pub(crate) fn keep_from_waiting(socket: &OwnedFd) -> io::Result<()> {
    SockRef::from(socket).set_nonblocking(true)
}

/// As [`prepare_adopted`], for datagrams.
pub(crate) fn prepare_adopted_udp(socket: &OwnedFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if socket.r#type()? != Type::DGRAM || socket.local_addr()?.as_socket().is_none() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    socket.set_nonblocking(true)
}

/// A number that is the same for two descriptors of one socket, and only then.
pub(crate) fn identity(socket: &OwnedFd) -> io::Result<u64> {
    SockRef::from(socket).cookie()
}

/// The address a socket is bound to, and whether it is one of datagrams.
pub(crate) fn address(socket: &OwnedFd) -> io::Result<(SockAddr, bool)> {
    let socket = SockRef::from(socket);
    Ok((socket.local_addr()?, socket.r#type()? == Type::DGRAM))
}

/// Whether an IPv6 socket is one of IPv4 too.
pub(crate) fn takes_ipv4(socket: &OwnedFd) -> bool {
    SockRef::from(socket).only_v6().is_ok_and(|only| !only)
}

/// That its close waits for nobody. What is no socket does not linger.
pub(crate) fn never_linger(fd: &OwnedFd) {
    let _ = SockRef::from(fd).set_linger(None);
}

/// Accepts one connection, non-blocking and CLOEXEC from its first moment; yields the peer of a TCP one.
pub(crate) fn accept(listener: impl AsFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let (socket, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    Ok((socket, peer.and_then(|peer| SocketAddr::try_from(peer).ok())))
}

/// Whether somebody waits to be accepted, as far as is known: accept(2) itself does not tell where descriptors are short.
pub(crate) fn may_have_clients(listener: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())) != Ok(0)
}

/// What an error of accept(2) is about.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// There is nothing more for now.
    Nothing,
    /// One connection that was gone before we took it.
    Connection,
    /// This process, or the system, is short of something.
    Resource,
}

impl Trouble {
    pub(crate) fn of(error: &io::Error) -> Trouble {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Trouble::Nothing,
            // accept(2): these are errors of the new connection that are already pending.
            Some(
                libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::EPERM
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH,
            ) => Trouble::Connection,
            _ => Trouble::Resource,
        }
    }
}

/// Lets no further connection begin, while those that have begun can still be accepted.
///
/// Closing a listening socket resets whatever waits in its backlog, and between the last accept and the close
/// there is always room for one more. Here the kernel drops each further SYN first: its sender tries again a
/// second later and is refused by then, which it can tell from a connection that broke.
pub(crate) fn close_the_door(listener: &OwnedFd) -> io::Result<()> {
    let socket = SockRef::from(listener);
    if socket.local_addr()?.is_unix() {
        return socket.shutdown(std::net::Shutdown::Read);
    }
    const FLAGS_OF_TCP: u32 = 13;
    const SYN: u32 = 0x02;
    let load = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    let and = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    let ret = (libc::BPF_RET | libc::BPF_K) as u16;
    socket.attach_filter(&[
        SockFilter::new(load, 0, 0, FLAGS_OF_TCP),
        SockFilter::new(and, 0, 1, SYN),
        SockFilter::new(ret, 0, 0, 0),
        SockFilter::new(ret, 0, 0, u32::MAX),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn what_was_shut_down_listens_no_more() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let path = std::env::temp_dir().join(format!("cluster-shut-{}", std::process::id()));
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        for listener in [OwnedFd::from(tcp), OwnedFd::from(unix)] {
            assert!(listens(&listener));
            SockRef::from(&listener).shutdown(std::net::Shutdown::Both).unwrap();
            assert!(!listens(&listener), "{listener:?}");
        }
    }

    #[test]
    fn behind_a_closed_door_nothing_begins_and_nothing_is_reset() {
        let listener = listen_tcp("127.0.0.1:0".parse().unwrap(), 16, Manner::default()).unwrap();
        let address = address(&listener).unwrap().0.as_socket().unwrap();
        let before = TcpStream::connect(address).unwrap();
        close_the_door(&listener).unwrap();
        let late = TcpStream::connect_timeout(&address, std::time::Duration::from_millis(50));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (_accepted, peer) = accept(&listener).unwrap();
        assert_eq!(peer, Some(before.local_addr().unwrap()));
        assert_eq!(accept(&listener).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    /// Mutation: ask only whether it is a listener.
    #[test]
    fn one_that_was_shut_down_listens_no_more_of_either_kind() {
        let tcp = listen_tcp("127.0.0.1:0".parse().unwrap(), 16, Manner::default()).unwrap();
        let name = format!("\0cluster-listens-{}", std::process::id());
        let unix = bind_unix(Path::new(&name)).unwrap();
        listen(&unix, 16).unwrap();
        for listener in [tcp, unix] {
            assert!(listens(&listener));
            SockRef::from(&listener).shutdown(std::net::Shutdown::Both).unwrap();
            assert!(!listens(&listener));
        }
    }

    #[test]
    fn s28_each_error_of_accept_has_its_answer() {
        for (code, expected) in [
            (libc::EAGAIN, Trouble::Nothing),
            (libc::ECONNABORTED, Trouble::Connection),
            (libc::EPERM, Trouble::Connection),
            (libc::EINTR, Trouble::Connection),
            (libc::EMFILE, Trouble::Resource),
            (libc::ENFILE, Trouble::Resource),
            (libc::ENOBUFS, Trouble::Resource),
            (libc::ENOMEM, Trouble::Resource),
        ] {
            assert_eq!(Trouble::of(&io::Error::from_raw_os_error(code)), expected, "{code}");
        }
    }
}
