//! Listens where TEST_ACTIVATE says (`http=127.0.0.1:0 admin=unix:/run/a`), and turns into the fixture TEST_PROGRAM, which
//! is given these sockets as a service manager gives them.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, process};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

fn main() {
    let (mut names, mut open) = (Vec::new(), Vec::new());
    let all = env::var("TEST_ACTIVATE").expect("TEST_ACTIVATE");
    for word in all.split(' ') {
        let (name, address) = word.split_once('=').expect("name=address");
        let (socket, at): (OwnedFd, String) = if let Some(path) = address.strip_prefix("unix:") {
            (UnixListener::bind(path).expect("bind").into(), address.to_owned())
        } else if let Some(address) = address.strip_prefix("udp:") {
            let socket = UdpSocket::bind(address).expect("bind");
            (socket.try_clone().expect("clone").into(), socket.local_addr().expect("an address").to_string())
        } else {
            let socket = TcpListener::bind(address).expect("bind");
            (socket.try_clone().expect("clone").into(), socket.local_addr().expect("an address").to_string())
        };
        println!("activated {name} {at}");
        names.push(name);
        // Out of the way of those numbers that are meant for them.
        open.push(fcntl_dupfd_cloexec(socket, 100).expect("duplicate"));
    }
    for (at, socket) in (3..).zip(&open) {
        let given = fcntl_dupfd_cloexec(socket, 3).expect("duplicate");
        assert_eq!(given.as_raw_fd(), at, "something else is open");
        fcntl_setfd(&given, FdFlags::empty()).expect("leave it open");
        std::mem::forget(given);
    }
    let program = env::current_exe().expect("a path").with_file_name(env::var("TEST_PROGRAM").expect("one"));
    let pid = env::var("TEST_LISTEN_PID").unwrap_or(process::id().to_string());
    let count = env::var("TEST_LISTEN_FDS").unwrap_or(open.len().to_string());
    let mut command = Command::new(program);
    command.env("LISTEN_PID", pid).env("LISTEN_FDS", count).env("LISTEN_FDNAMES", names.join(":"));
    panic!("{}", command.exec());
}
