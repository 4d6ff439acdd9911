//! Who asks a cluster: blocking connections whose every answer is judged.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv};

use crate::wait::{PATIENCE, eventually};

/// Longer than any drain in the tests, shorter than a test's patience.
const ANSWER: Duration = Duration::from_secs(10);

/// How long a worker that leaves waits for the next request of each connection. A client that was itself kept from its processor for
/// so long finds the connection closed, and no server can help it.
const LAST_CALL: Duration = Duration::from_millis(250);

/// An answer, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Reply {
    /// The worker that answered, from the body's `worker 1 slot 0 pid 4711`.
    #[must_use]
    pub fn worker(&self) -> u64 {
        self.number("worker").unwrap_or_else(|| panic!("which worker? {self:?}"))
    }

    /// The process that answered.
    #[must_use]
    pub fn pid(&self) -> u32 {
        let pid = self.number("pid").and_then(|pid| pid.try_into().ok());
        pid.unwrap_or_else(|| panic!("which pid? {self:?}"))
    }

    /// The number that follows this word in the body.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        let mut words = self.body.split_whitespace();
        words.find(|word| *word == name)?;
        words.next()?.parse().ok()
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a complete answer.
    Answered(Reply),
    /// Nobody listened.
    Refused,
    /// The connection broke before all of the request was written.
    Reset,
    /// The request was written, and no byte came back.
    Lost(String),
    /// The answer broke off.
    Truncated(String),
    /// No answer, and no end of the connection, in time.
    TimedOut,
}

impl Outcome {
    /// The reply of a request that must be answered.
    ///
    /// # Panics
    /// If it was not.
    #[must_use]
    #[track_caller]
    pub fn reply(self) -> Reply {
        match self {
            Self::Answered(reply) => reply,
            other => panic!("a request was not answered: {other:?}"),
        }
    }
}

/// One request on a connection of its own, which must be answered.
///
/// # Panics
/// If it was not answered.
#[track_caller]
pub fn ask(address: &str, path: &str) -> Reply {
    attempt(address, path).reply()
}

/// Asks on one connection after the other until each of these `worker`s, or `slot`s, was met, and nobody else: whose turn it is, is
/// passed over for as long as it is kept from its processor.
///
/// # Panics
/// If one of them is not met for long, or another is.
#[track_caller]
pub fn meets(address: &str, word: &str, wanted: &[u64]) {
    let wanted = BTreeSet::from_iter(wanted.iter().copied());
    let mut met = BTreeSet::new();
    let all = eventually(PATIENCE, || {
        met.extend(wanted.iter().filter_map(|_| ask(address, "/").number(word)));
        met.is_superset(&wanted)
    });
    assert!(all && met == wanted, "{word}s {met:?} serve, and are to be {wanted:?}");
}

/// One request on a connection of its own, read up to the end of the connection.
#[must_use]
pub fn attempt(address: &str, path: &str) -> Outcome {
    one_shot(address, path).0
}

/// The same, and once more for each time that the request came too late for the connection.
#[must_use]
pub fn attempt_in_time(address: &str, path: &str) -> Outcome {
    loop {
        let (outcome, late) = one_shot(address, path);
        if !late || !is_loss(&outcome) {
            return outcome;
        }
    }
}

/// How it ended, and whether it was asked too late.
fn one_shot(address: &str, path: &str) -> (Outcome, bool) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let began = Instant::now();
    match Connection::open(address) {
        Ok(mut connection) => {
            let written = connection.write(request.as_bytes());
            let late = began.elapsed() >= LAST_CALL;
            (if written.is_ok() { connection.read_to_end() } else { Outcome::Reset }, late)
        }
        Err(error) if is_refusal(&error) => (Outcome::Refused, false),
        Err(_) => (Outcome::Reset, false),
    }
}

fn is_loss(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Reset | Outcome::Lost(_))
}

/// One request after the other on one connection, as long as the other side keeps it; then on the next.
#[derive(Debug)]
pub struct KeptAlive {
    address: String,
    /// And since when the other side may have been waiting on it for a request.
    connection: Option<(Connection, Instant)>,
}

impl KeptAlive {
    /// Connects with the first request.
    #[must_use]
    pub fn to(address: &str) -> Self {
        Self { address: address.to_owned(), connection: None }
    }

    /// The next request; on another connection, where it came too late for this one.
    pub fn attempt(&mut self, path: &str) -> Outcome {
        loop {
            let (outcome, late) = self.attempt_once(path);
            if !late || !is_loss(&outcome) {
                return outcome;
            }
        }
    }

    fn attempt_once(&mut self, path: &str) -> (Outcome, bool) {
        let now = Instant::now();
        let (mut connection, since) = match self.connection.take() {
            Some(kept) => kept,
            None => match Connection::open(&self.address) {
                Ok(connection) => (connection, now),
                Err(error) if is_refusal(&error) => return (Outcome::Refused, false),
                Err(_) => return (Outcome::Reset, false),
            },
        };
        let written = connection.write(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
        let late = since.elapsed() >= LAST_CALL;
        if written.is_err() {
            return (Outcome::Reset, late);
        }
        let outcome = connection.read_reply();
        if let Outcome::Answered(reply) = &outcome
            && !reply.head.to_ascii_lowercase().contains("connection: close")
        {
            self.connection = Some((connection, now));
        }
        (outcome, late)
    }
}

fn is_refusal(error: &io::Error) -> bool {
    // NotFound is a Unix socket whose file is gone.
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound)
}

/// A connection, kept open.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
}

#[derive(Debug)]
enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    /// Connects to `127.0.0.1:8000` or `unix:/path`.
    ///
    /// # Errors
    /// Those of connect(2).
    pub fn open(address: &str) -> io::Result<Self> {
        let wire = if let Some(path) = address.strip_prefix("unix:") {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(ANSWER))?;
            Wire::Unix(stream)
        } else {
            let stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(ANSWER))?;
            stream.set_nodelay(true)?;
            Wire::Tcp(stream)
        };
        Ok(Self { wire })
    }

    /// Connects over IPv4 as this client, which must succeed: all of 127.0.0.0/8 is this machine.
    ///
    /// # Panics
    /// If nobody listens.
    #[must_use]
    #[track_caller]
    pub fn by(client: Ipv4Addr, address: &str) -> Self {
        let server: SocketAddrV4 = address.parse().expect("an address");
        // A cluster that another thread starts meanwhile would have it too, and it would not end with this client.
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
        rustix::net::bind(&socket, &SocketAddrV4::new(client, 0)).expect("bind to the client's address");
        rustix::net::connect(&socket, &server).expect("connect");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(ANSWER)).expect("set a read timeout");
        Self { wire: Wire::Tcp(stream) }
    }

    /// Connects, which must succeed.
    ///
    /// # Panics
    /// If nobody listens.
    #[must_use]
    #[track_caller]
    pub fn to(address: &str) -> Self {
        Self::open(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// The client's own port; 0 over a Unix socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        match &self.wire {
            Wire::Tcp(stream) => stream.local_addr().map_or(0, |address| address.port()),
            Wire::Unix(_) => 0,
        }
    }

    /// Sets how long an answer may take; [`Outcome::TimedOut`] after that.
    pub fn patience(&self, limit: Duration) {
        let set = match &self.wire {
            Wire::Tcp(stream) => stream.set_read_timeout(Some(limit)),
            Wire::Unix(stream) => stream.set_read_timeout(Some(limit)),
        };
        set.expect("set a read timeout");
    }

    /// Whether something comes in time, which is left to be read.
    #[must_use]
    pub fn has_come(&self) -> bool {
        let peeked = match &self.wire {
            Wire::Tcp(stream) => recv(stream, &mut [0u8; 1][..], RecvFlags::PEEK),
            Wire::Unix(stream) => recv(stream, &mut [0u8; 1][..], RecvFlags::PEEK),
        };
        peeked.is_ok()
    }

    /// Writes these bytes.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes)
    }

    /// Asks, and keeps the connection alive.
    ///
    /// # Panics
    /// If it is not answered.
    #[track_caller]
    pub fn ask(&mut self, path: &str) -> Reply {
        self.write(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).expect("write a request");
        self.read_reply().reply()
    }

    /// Sends the head of a request and no byte of its body, and blocks until a worker has begun with it: its
    /// `100 Continue` is the event. The worker stays busy with it until [`finish`](Self::finish).
    ///
    /// # Panics
    /// If no worker begins.
    pub fn begin(&mut self) {
        let head = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
        self.write(head.as_bytes()).expect("write a request's head");
        let head = self.read_head().unwrap_or_else(|outcome| panic!("no worker began: {outcome:?}"));
        assert!(head.starts_with("HTTP/1.1 100"), "not begun but answered: {head}");
    }

    /// Sends the rest of the request that was begun, in two pieces, and reads up to the end of the connection.
    #[must_use]
    pub fn finish(&mut self) -> Outcome {
        if self.write(b"do").and_then(|()| self.write(b"ne")).is_err() {
            return Outcome::Reset;
        }
        self.read_to_end()
    }

    /// Reads one answer; the connection stays open.
    pub fn read_reply(&mut self) -> Outcome {
        let head = match self.read_head() {
            Ok(head) => head,
            Err(outcome) => return outcome,
        };
        let Some(length) = content_length(&head) else { return Outcome::Truncated(head) };
        let mut body = vec![0; length];
        match self.wire.read_exact(&mut body) {
            Ok(()) => judge(&head, &body),
            Err(error) if timed_out(&error) => Outcome::TimedOut,
            Err(error) => Outcome::Truncated(format!("{head}... {error}")),
        }
    }

    /// Reads an answer and then up to the end of the connection, which must come in time too.
    pub fn read_to_end(&mut self) -> Outcome {
        let mut all = Vec::new();
        match self.wire.read_to_end(&mut all) {
            Ok(_) if all.is_empty() => Outcome::Lost("end of the connection".to_owned()),
            Ok(_) => split(&all),
            Err(error) if timed_out(&error) => Outcome::TimedOut,
            Err(error) if all.is_empty() => Outcome::Lost(error.to_string()),
            Err(error) => Outcome::Truncated(error.to_string()),
        }
    }

    /// Blocks until the other side closes; false if it does not in time. Bytes that come are dropped.
    #[must_use]
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        self.patience(limit);
        let mut ignored = Vec::new();
        match self.wire.read_to_end(&mut ignored) {
            Ok(_) => true,
            Err(error) => !timed_out(&error),
        }
    }

    /// Ends this side's half: the other side reads the end.
    pub fn half_close(&self) {
        // The other side may have closed already.
        let _ = match &self.wire {
            Wire::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Wire::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    fn read_head(&mut self) -> Result<String, Outcome> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match self.wire.read(&mut byte) {
                Ok(0) if head.is_empty() => return Err(Outcome::Lost("end of the connection".to_owned())),
                Ok(0) => return Err(Outcome::Truncated("in the head".to_owned())),
                Ok(_) => head.push(byte[0]),
                Err(error) if timed_out(&error) => return Err(Outcome::TimedOut),
                Err(error) if head.is_empty() => return Err(Outcome::Lost(error.to_string())),
                Err(error) => return Err(Outcome::Truncated(error.to_string())),
            }
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    }
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn content_length(head: &str) -> Option<usize> {
    let lower = head.to_ascii_lowercase();
    lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
}

fn split(all: &[u8]) -> Outcome {
    let Some(end) = all.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Outcome::Truncated(String::from_utf8_lossy(all).into_owned());
    };
    judge(&String::from_utf8_lossy(&all[..end + 4]), &all[end + 4..])
}

fn judge(head: &str, body: &[u8]) -> Outcome {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let complete = content_length(head) == Some(body.len());
    match status {
        Some(status) if complete => {
            let body = String::from_utf8_lossy(body).into_owned();
            Outcome::Answered(Reply { status, head: head.to_owned(), body })
        }
        _ => Outcome::Truncated(format!("{head}{}", String::from_utf8_lossy(body))),
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buffer),
            Self::Unix(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
