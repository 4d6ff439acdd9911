//! The client: one thread, one epoll set, few system calls for each request, since it shares the machine with what it measures.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use crate::response::{Response, read};
use crate::schedule::Due;

/// How long what was sent may take after the last of it. What has no answer then has failed.
const GRACE: Duration = Duration::from_secs(5);
/// The timer's place among the connections' numbers.
const TIMER: u64 = u64::MAX;

/// What is asked, of whom and how.
pub(crate) struct Load<'a> {
    pub(crate) address: SocketAddrV4,
    /// The paths; a request's kind is its place here.
    pub(crate) paths: &'a [String],
    /// At most so many at a time.
    pub(crate) connections: usize,
    pub(crate) keep_alive: bool,
    pub(crate) pace: Pace<'a>,
}

pub(crate) enum Pace<'a> {
    /// Each connection asks again as soon as it has its answer, for so long. It tells what can be done and what it costs; of its
    /// latencies nothing follows.
    Closed(Duration),
    /// Each request is due at its time, whatever became of those before; its latency counts from then on.
    Due(&'a [Due]),
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// By kind, in microseconds, sorted.
    pub(crate) latencies: Vec<Vec<u32>>,
    pub(crate) failed: u64,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// How often each body was the answer, where a body is a few bytes long.
    pub(crate) bodies: BTreeMap<Vec<u8>, u64>,
}

impl Outcome {
    pub(crate) fn answered(&self) -> u64 {
        self.latencies.iter().map(|kind| kind.len() as u64).sum()
    }
}

struct Connection {
    socket: OwnedFd,
    kind: usize,
    due: Duration,
    sent: usize,
    got: Vec<u8>,
    /// A request is on its way; where not, the connection is idle.
    asking: bool,
    /// The answer was complete; only its end is waited for.
    answered: bool,
}

struct Client<'a> {
    load: &'a Load<'a>,
    requests: Vec<Vec<u8>>,
    epoll: OwnedFd,
    start: Instant,
    /// A place may have an idle connection, or none.
    places: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// The next of those that are due.
    next: usize,
    /// What the timer is set to.
    armed: Option<Duration>,
    outcome: Outcome,
}

/// Asks until it is through.
///
/// # Errors
///
/// What the kernel refused this side; what a server does wrong is counted.
pub(crate) fn run(load: &Load<'_>) -> io::Result<Outcome> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let timer = rustix::time::timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
    )?;
    epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET)?;
    let connection = if load.keep_alive { "keep-alive" } else { "close" };
    let request = |path| {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\n\r\n", load.address)
            .into_bytes()
    };
    let mut client = Client {
        load,
        requests: load.paths.iter().map(request).collect(),
        epoll,
        start: Instant::now(),
        places: (0..load.connections).map(|_| None).collect(),
        free: (0..load.connections).rev().collect(),
        next: 0,
        armed: None,
        outcome: Outcome { latencies: vec![Vec::new(); load.paths.len()], ..Outcome::default() },
    };
    client.run(&timer)?;
    let mut outcome = client.outcome;
    outcome.latencies.iter_mut().for_each(|kind| kind.sort_unstable());
    Ok(outcome)
}

impl Client<'_> {
    fn run(&mut self, timer: &OwnedFd) -> io::Result<()> {
        let end = match self.load.pace {
            Pace::Closed(time) => time,
            Pace::Due(all) => all.last().map_or(Duration::ZERO, |due| due.at),
        } + GRACE;
        let mut events = Vec::with_capacity(256);
        loop {
            while let (Some(due), false) = (self.due(), self.free.is_empty()) {
                self.next += 1;
                self.ask(due)?;
            }
            let now = self.start.elapsed();
            let busy = self.load.connections - self.free.len();
            if now >= end || busy == 0 && self.wake().is_none() {
                self.outcome.failed += self.places.iter().flatten().filter(|one| one.asking).count() as u64;
                if let Pace::Due(all) = self.load.pace {
                    self.outcome.failed += (all.len() - self.next) as u64;
                }
                return Ok(());
            }
            // With every place taken only an answer can change something, or the end.
            let wake = if self.free.is_empty() { end } else { self.wake().unwrap_or(end) };
            self.arm(timer, now, wake)?;
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            for event in events.drain(..) {
                // Out of a packed struct.
                let (place, flags) = ({ event.data }.u64(), { event.flags });
                if place != TIMER {
                    let hung_up = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
                    self.drive(place as usize, hung_up);
                }
            }
        }
    }

    /// One call for each change only: a loop that is always busy waits for its end all the time.
    fn arm(&mut self, timer: &OwnedFd, now: Duration, wake: Duration) -> io::Result<()> {
        if self.armed == Some(wake) {
            return Ok(());
        }
        self.armed = Some(wake);
        let span = wake.saturating_sub(now).max(Duration::from_nanos(1));
        let at = Timespec { tv_sec: span.as_secs() as i64, tv_nsec: i64::from(span.subsec_nanos()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        Ok(rustix::time::timerfd_settime(timer, TimerfdTimerFlags::empty(), &once).map(drop)?)
    }

    /// A request that is to be sent now.
    fn due(&self) -> Option<Due> {
        let now = self.start.elapsed();
        match self.load.pace {
            Pace::Closed(time) => (now < time).then_some(Due { at: now, kind: 0 }),
            Pace::Due(all) => all.get(self.next).copied().filter(|due| due.at <= now),
        }
    }

    /// When there will be one.
    fn wake(&self) -> Option<Duration> {
        match self.load.pace {
            Pace::Closed(time) => Some(time).filter(|time| self.start.elapsed() < *time),
            Pace::Due(all) => Some(all.get(self.next)?.at),
        }
    }

    fn ask(&mut self, due: Due) -> io::Result<()> {
        let Some(place) = self.free.pop() else { return Ok(()) };
        if let Some(idle) = &mut self.places[place] {
            idle.kind = due.kind;
            idle.due = due.at;
            idle.sent = 0;
            idle.got.clear();
            idle.asking = true;
            self.drive(place, false);
            return Ok(());
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &self.load.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(_) => {
                self.outcome.failed += 1;
                self.free.push(place);
                return Ok(());
            }
        }
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        // Connected already, as a rule, over loopback: then there is nothing to be told of but the answer.
        let sent = rustix::net::send(&socket, &self.requests[due.kind], SendFlags::NOSIGNAL).unwrap_or(0);
        let flags = if sent > 0 { flags - EventFlags::OUT } else { flags };
        epoll::add(&self.epoll, &socket, EventData::new_u64(place as u64), flags)?;
        let (kind, due) = (due.kind, due.at);
        let got = Vec::with_capacity(256);
        self.places[place] = Some(Connection { socket, kind, due, sent, got, asking: true, answered: false });
        Ok(())
    }

    /// As far as it goes without waiting. An event that was meant for the connection before in this place does no harm: nothing is
    /// believed but what the calls return.
    fn drive(&mut self, place: usize, hung_up: bool) {
        let Some(one) = &mut self.places[place] else { return };
        let request = &self.requests[one.kind];
        if one.asking && one.sent < request.len() {
            match rustix::net::send(&one.socket, &request[one.sent..], SendFlags::NOSIGNAL) {
                Ok(sent) => one.sent += sent,
                Err(Errno::AGAIN) => return,
                Err(_) => return self.close(place, true),
            }
            if !hung_up {
                return;
            }
        }
        let mut scratch = [0; 4096];
        loop {
            match rustix::net::recv(&one.socket, &mut scratch, RecvFlags::empty()) {
                Ok((_, 0)) => {
                    let complete = read(&one.got, true).is_some();
                    let failed = one.asking && !complete;
                    if one.asking && complete {
                        self.account(place);
                        // Its end has come with it.
                        self.places[place].iter_mut().for_each(|one| one.answered = true);
                    }
                    return self.close(place, failed);
                }
                Ok((_, length)) => {
                    one.got.extend_from_slice(&scratch[..length]);
                    // Edge-triggered: what is less than there was room for was all, unless the end came with it.
                    if length < scratch.len() && !hung_up {
                        break;
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    let failed = one.asking;
                    return self.close(place, failed);
                }
            }
        }
        if one.asking && read(&one.got, false).is_some() {
            let stays = self.account(place);
            if stays && self.load.keep_alive {
                self.free.push(place);
            }
        }
    }

    /// An answer is complete. Whether the connection stays.
    fn account(&mut self, place: usize) -> bool {
        let Some(one) = &mut self.places[place] else { return false };
        one.asking = false;
        let now = self.start.elapsed();
        self.outcome.took = now;
        let Some(Response { ok, stays, body }) = read(&one.got, true) else { return false };
        if ok {
            self.outcome.latencies[one.kind].push((now - one.due).as_micros() as u32);
            if body.len() <= 64 && self.outcome.bodies.len() < 1024 {
                *self.outcome.bodies.entry(body.to_vec()).or_default() += 1;
            }
        } else {
            self.outcome.failed += 1;
        }
        one.answered = !(stays && self.load.keep_alive);
        stays
    }

    fn close(&mut self, place: usize, failed: bool) {
        self.outcome.failed += u64::from(failed);
        // An idle one's place was free before.
        if self.places[place].take().is_some_and(|one| one.asking || one.answered) {
            self.free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread;

    use super::*;
    use crate::schedule::even;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes";

    fn listen() -> (TcpListener, SocketAddrV4) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        match listener.local_addr().unwrap() {
            SocketAddr::V4(address) => (listener, address),
            SocketAddr::V6(address) => panic!("{address}"),
        }
    }

    /// Answers each request on one connection; the first after so long.
    fn serve(listener: &TcpListener, stall: Duration, requests: usize) {
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = Vec::new();
        for n in 0..requests {
            while !got.windows(4).any(|four| four == b"\r\n\r\n") {
                let mut piece = [0; 1024];
                let length = stream.read(&mut piece).unwrap();
                assert!(length > 0, "the client has left");
                got.extend_from_slice(&piece[..length]);
            }
            got.clear();
            if n == 0 {
                thread::sleep(stall);
            }
            stream.write_all(ANSWER).unwrap();
        }
    }

    #[test]
    fn a_request_that_had_to_wait_for_its_turn_took_as_long_as_it_waited() {
        const STALL: Duration = Duration::from_millis(200);
        let (listener, address) = listen();
        let server = thread::spawn(move || serve(&listener, STALL, 10));
        // One every 10 ms, on one connection: the first stalls all the others, which are sent when it is through.
        let due = even(0, 100.0, Duration::from_millis(100));
        let (paths, pace) = (["/".to_owned()], Pace::Due(&due));
        let outcome = run(&Load { address, paths: &paths, connections: 1, keep_alive: true, pace }).unwrap();
        server.join().unwrap();
        assert_eq!((outcome.answered(), outcome.failed), (10, 0));
        // Sent and answered at once, but due 90 ms after the first: so late is the last. Never less, however slow this machine is.
        let shortest = outcome.latencies[0][0];
        assert!(u128::from(shortest) >= (STALL - Duration::from_millis(90)).as_micros(), "{shortest} µs");
    }

    #[test]
    fn a_connection_for_each_request_ends_with_its_answer() {
        let (listener, address) = listen();
        let server = thread::spawn(move || {
            for _ in 0..3 {
                serve(&listener, Duration::ZERO, 1);
            }
        });
        let due = even(0, 1000.0, Duration::from_millis(3));
        let (paths, pace) = (["/".to_owned()], Pace::Due(&due));
        let outcome = run(&Load { address, paths: &paths, connections: 3, keep_alive: false, pace }).unwrap();
        server.join().unwrap();
        assert_eq!((outcome.answered(), outcome.failed), (3, 0));
        assert_eq!(outcome.bodies.get(&b"yes"[..]), Some(&3));
    }

    #[test]
    fn nobody_there_is_a_failure_and_no_error() {
        let (listener, address) = listen();
        drop(listener);
        let due = even(0, 1000.0, Duration::from_millis(5));
        let (paths, pace) = (["/".to_owned()], Pace::Due(&due));
        let outcome = run(&Load { address, paths: &paths, connections: 2, keep_alive: true, pace }).unwrap();
        assert_eq!((outcome.answered(), outcome.failed), (0, 5));
    }
}
