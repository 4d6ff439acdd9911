//! The service manager's socket: sd_notify(3). Written to without ever waiting.
//!
//! By hand, since the usual crate waits for a manager that does not read, and knows no abstract addresses.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where the service manager listens.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl NotifySocket {
    /// `address` as NOTIFY_SOCKET has it: a path, or after an `@` a name in the abstract namespace.
    pub(crate) fn open(address: &OsStr) -> io::Result<NotifySocket> {
        let to = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            _ => {
                let message = "it is neither a path nor, after an @, an abstract name";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(NotifySocket { socket, to })
    }

    /// Sends one message. `WouldBlock` if the manager has too many to read already.
    pub(crate) fn send(&self, message: &str) -> io::Result<()> {
        self.socket.send_to_addr(message.as_bytes(), &self.to).map(drop)
    }
}
