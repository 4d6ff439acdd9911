//! One connection, byte by byte: counts what the kernel took and gave, and waits for nothing without an end.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::plan::Address;
use crate::record::End;

/// How a pause ended.
#[derive(Debug)]
pub(crate) enum Rest {
    /// It is over, and up to now the other side said nothing.
    Quiet,
    /// The trial is over.
    Stopped,
    /// Bytes have come.
    Spoken,
    /// The connection has ended.
    Ended(End),
}

/// Waits for a time; `false` if the trial's end, which this descriptor tells by its own end, came first.
pub(crate) fn pause(stop: impl AsFd, time: Duration) -> bool {
    !wait(&mut [PollFd::new(&stop, PollFlags::IN)], time)
}

/// Whether one of these has something to tell before the time is over.
fn wait(all: &mut [PollFd<'_>], time: Duration) -> bool {
    let end = Instant::now() + time;
    loop {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).unwrap_or_default();
        match poll(all, Some(&left)) {
            Ok(ready) => return ready > 0,
            Err(Errno::INTR) => {}
            // Out of memory, of all that poll(2) can say of descriptors that are open: rest no longer.
            Err(_) => return false,
        }
    }
}

/// A connection. Its methods take `&self`, since a WebSocket over it borrows it too.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    timeout: Duration,
    deadline: Cell<Instant>,
    written: Cell<u64>,
    read: Cell<u64>,
}

impl Wire {
    /// Connects. With a `window`, the kernel keeps only about so many bytes that were not read yet.
    pub(crate) fn open(address: &Address, timeout: Duration, window: Option<usize>) -> io::Result<Self> {
        let (domain, name) = match address {
            Address::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
            Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))?;
        if let Some(window) = window {
            socket.set_recv_buffer_size(window)?;
            if domain != Domain::UNIX {
                // The server's kernel makes its own buffer as large as the segments: with those of loopback a whole
                // body would lie in it, and the server be done, before the client has read a byte.
                socket.set_tcp_mss(1400)?;
            }
        }
        if domain != Domain::UNIX {
            socket.set_tcp_nodelay(true)?;
        }
        // When SO_SNDTIMEO is over, connect(2) says EAGAIN of a Unix socket, and of TCP that it goes on.
        let late = |error: io::Error| match Errno::from_io_error(&error) {
            Some(Errno::INPROGRESS) => ErrorKind::TimedOut.into(),
            _ => error,
        };
        socket.connect(&name).map_err(late)?;
        let deadline = Cell::new(Instant::now() + timeout);
        Ok(Self { socket, timeout, deadline, written: Cell::new(0), read: Cell::new(0) })
    }

    /// The client's own address; a Unix socket's client has none.
    pub(crate) fn local(&self) -> String {
        let address = self.socket.local_addr().ok().and_then(|address| address.as_socket());
        address.map(|address| address.to_string()).unwrap_or_default()
    }

    /// All bytes that the kernel took so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.get()
    }

    /// All bytes that came so far.
    pub(crate) fn read(&self) -> u64 {
        self.read.get()
    }

    /// From now on the time runs anew.
    pub(crate) fn begin(&self) {
        self.deadline.set(Instant::now() + self.timeout);
    }

    /// Waits, where the client is the slow one.
    pub(crate) fn dawdle(&self, stop: impl AsFd, time: Duration) {
        // At the trial's end, what is under way is finished without pauses.
        pause(stop, time);
        self.deadline.set(self.deadline.get() + time);
    }

    /// Waits, while nothing is under way, and looks at the very end of it whether the connection is still there.
    pub(crate) fn rest(&self, stop: impl AsFd, time: Duration) -> Rest {
        let mut all = [PollFd::new(&stop, PollFlags::IN), PollFd::new(&self.socket, PollFlags::IN)];
        if !wait(&mut all, time) {
            return Rest::Quiet;
        }
        if all[1].revents().is_empty() {
            return Rest::Stopped;
        }
        match self.socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => Rest::Ended(End::Closed),
            Ok(_) => Rest::Spoken,
            Err(error) => Rest::Ended(End::from(error)),
        }
    }

    /// Ends this side's half.
    pub(crate) fn half_close(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    fn in_time(&self) -> io::Result<()> {
        if Instant::now() < self.deadline.get() { Ok(()) } else { Err(ErrorKind::TimedOut.into()) }
    }
}

impl Read for &Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.in_time()?;
        let n = (&self.socket).read(buffer)?;
        self.read.set(self.read.get() + n as u64);
        Ok(n)
    }
}

impl Write for &Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.in_time()?;
        let n = (&self.socket).write(buffer)?;
        self.written.set(self.written.get() + n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
