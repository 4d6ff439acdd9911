//! In a test: the control connection to a worker whose body is [`crate::sockets::obey`], and clients of what it serves.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::running::Cluster;
use crate::story::Event;
use crate::wait::PATIENCE;

/// Longer than anything here takes, shorter than a test's patience.
const ANSWER: Duration = Duration::from_secs(10);

/// A worker, told what to bind and what to drop.
#[derive(Debug)]
pub struct Control {
    wire: BufReader<TcpStream>,
    /// Which worker.
    pub id: u64,
}

impl Control {
    /// Waits for worker `id` and connects to it.
    ///
    /// # Panics
    /// If it never comes.
    pub fn of(cluster: &mut Cluster, id: u64) -> Self {
        let address = cluster.told(&format!("control {id} "));
        Self { wire: wire(&address), id }
    }

    /// Gives an order; what the worker answers to it: `ok …`, or `error KIND CODE …`.
    ///
    /// # Panics
    /// If it does not answer.
    #[track_caller]
    pub fn says(&mut self, order: &str) -> String {
        self.wire.get_mut().write_all(format!("{order}\n").as_bytes()).expect("write an order");
        let mut answer = String::new();
        self.wire.read_line(&mut answer).expect("read an answer");
        assert!(!answer.is_empty(), "worker {} has gone instead of answering {order:?}", self.id);
        answer.trim_end().to_owned()
    }

    /// Gives an order that succeeds; what it yields.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn does(&mut self, order: &str) -> String {
        let answer = self.says(order);
        let Some(yields) = answer.strip_prefix("ok") else {
            panic!("{order:?} in worker {}: {answer}", self.id)
        };
        yields.trim_start().to_owned()
    }

    /// As [`does`](Self::does), for what is announced; waits until it is.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn serves(&mut self, cluster: &mut Cluster, order: &str) -> String {
        let of_it = |event: &&Event| event.name() == "listening" && event.id() == Some(self.id);
        let before = cluster.story().events().filter(of_it).count();
        let yields = self.does(order);
        let id = self.id;
        cluster.until(&format!("worker {id} to serve {yields}"), |story| {
            let of_it = |event: &&Event| event.name() == "listening" && event.id() == Some(id);
            (story.events().filter(of_it).count() > before).then_some(())
        });
        yields
    }

    /// Gives an order that fails in this way: `AddrInUse 98`.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn fails(&mut self, order: &str, how: &str) -> String {
        let answer = self.says(order);
        assert!(answer.starts_with(&format!("error {how}")), "{order:?} in worker {}: {answer}", self.id);
        answer
    }
}

/// So many clients come at the same time, and more, until each of these was met, and nobody else: whose turn it is, is passed
/// over for as long as it is kept from its processor. The clients.
///
/// # Panics
/// If one of them is not met for long, or another is.
#[track_caller]
pub fn meet(address: &str, clients: usize, wanted: &[u64]) -> Vec<Client> {
    let wanted = BTreeSet::from_iter(wanted.iter().copied());
    let mut all: Vec<_> = (0..clients).map(|_| Client::to(address)).collect();
    let met = |all: &[Client]| all.iter().map(|client| client.worker).collect::<BTreeSet<_>>();
    let end = Instant::now() + PATIENCE;
    while !met(&all).is_superset(&wanted) && Instant::now() < end {
        all.push(Client::to(address));
    }
    assert_eq!(met(&all), wanted, "those who serve");
    all
}

/// A client of an echo server, and the worker it met.
#[derive(Debug)]
pub struct Client {
    wire: BufReader<TcpStream>,
    /// Who serves it.
    pub worker: u64,
}

impl Client {
    /// Connects, and waits until a worker says who it is.
    ///
    /// # Panics
    /// If nobody does.
    #[must_use]
    #[track_caller]
    pub fn to(address: &str) -> Self {
        Self::try_to(address).expect("a worker to serve")
    }

    /// Connects; nothing if it is refused, or closed before a worker said a word.
    ///
    /// # Panics
    /// If neither comes.
    #[must_use]
    #[track_caller]
    pub fn try_to(address: &str) -> Option<Self> {
        let stream = match TcpStream::connect(address) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("connect to {address}: {error}"),
        };
        stream.set_read_timeout(Some(ANSWER)).expect("set a timeout");
        let mut wire = BufReader::new(stream);
        let mut me = String::new();
        match wire.read_line(&mut me) {
            Ok(_) if !me.is_empty() => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nobody serves, nobody closes"),
            _ => return None,
        }
        let worker = me.split(' ').nth(1).and_then(|id| id.parse().ok());
        Some(Self { wire, worker: worker.unwrap_or_else(|| panic!("who is {me:?}?")) })
    }

    /// Writes, and reads the same.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn echoes(&mut self, text: &str) {
        self.wire.get_mut().write_all(text.as_bytes()).expect("write");
        let mut echo = vec![0; text.len()];
        self.wire.read_exact(&mut echo).expect("read an echo");
        assert!(echo == text.as_bytes(), "another text came back");
    }

    /// Ends it, and waits until the worker has closed its side.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn end(mut self) {
        self.wire.get_mut().shutdown(Shutdown::Write).expect("end this side");
        assert_eq!(self.wire.read(&mut [0]).expect("read the end"), 0);
    }
}

fn wire(address: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"));
    stream.set_read_timeout(Some(ANSWER)).expect("set a timeout");
    BufReader::new(stream)
}
