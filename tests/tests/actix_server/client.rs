//! A client that sends what it is told to and shows what comes back.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::running::DEADLINE;

pub(crate) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

pub(crate) struct Client<T>(pub(crate) T);

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn tcp(address: SocketAddr) -> Client<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    Client(stream)
}

pub(crate) fn unix(path: &Path) -> Client<UnixStream> {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    Client(stream)
}

impl<T: Stream> Client<T> {
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(path);
        self.receive()
    }

    pub(crate) fn send(&mut self, path: &str) {
        write!(self.0, "GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    }

    pub(crate) fn receive(&mut self) -> Answer {
        let head = self.head();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }

    pub(crate) fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {head:?}"));
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap().to_lowercase()
    }

    /// Waits for the end of the stream, which must come before anything else does.
    pub(crate) fn closed(&mut self) {
        let mut byte = [0];
        match self.0.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            other => panic!("the server should have closed: {other:?}, {byte:?}"),
        }
    }
}

impl Answer {
    pub(crate) fn is_last(&self) -> bool {
        self.head.contains("connection: close")
    }
}
