//! A server while it runs: started, settled, measured, and gone with all of its processes when this goes.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};

use crate::places::Places;
use crate::process;
use crate::server::Server;

/// How long a start may take: 128 workers of Node's take a while.
const START: Duration = Duration::from_secs(60);
/// How long one may take to end by itself.
const END: Duration = Duration::from_secs(5);

/// A running server.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// What it prints to its standard output, line by line.
    lines: Receiver<String>,
    /// Its standard error.
    log: PathBuf,
    pub(crate) address: SocketAddrV4,
}

impl Running {
    /// Started, and so quiet that all of its workers are there.
    ///
    /// # Errors
    ///
    /// It ended or did not answer; with what it said.
    pub(crate) fn start(server: &Server, places: &Places, workers: usize) -> io::Result<Running> {
        let port = free_port()?;
        let mut running = Running::spawn(server.command(places, port, workers)?, places, port)?;
        running.settle().map_err(|error| running.explain(server.title, error))?;
        Ok(running)
    }

    /// Any program, which is not waited for.
    ///
    /// # Errors
    ///
    /// It could not be started.
    pub(crate) fn spawn(mut command: Command, places: &Places, port: u16) -> io::Result<Running> {
        let log = places.folder.join("log");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        // A group of its own: Ctrl-C is for the one that cleans up.
        command.process_group(0);
        let started = command.spawn();
        let mut child =
            started.map_err(|error| io::Error::new(error.kind(), format!("{command:?}: {error}")))?;
        let (sender, lines) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Running { child, lines, log, address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port) })
    }

    /// Until it answers and is quiet.
    ///
    /// # Errors
    ///
    /// It ended, or does not answer.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START;
        while !answers(self.address) {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("no answer within {START:?}")));
            }
            thread::sleep(Duration::from_millis(5));
        }
        // The first answer comes from the first worker. All are there when nothing is done any more.
        loop {
            let before = self.processor();
            thread::sleep(Duration::from_millis(100));
            if self.processor() - before < Duration::from_millis(4) || Instant::now() > deadline {
                return Ok(());
            }
        }
    }

    fn explain(&self, title: &str, error: io::Error) -> io::Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let said = log.lines().rev().take(5).collect::<Vec<_>>();
        let said = said.into_iter().rev().collect::<Vec<_>>().join(" / ");
        io::Error::new(error.kind(), format!("{title}: {error}: {said}"))
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// The processor time of all of its processes until now.
    pub(crate) fn processor(&self) -> Duration {
        process::processor(self.pid())
    }

    /// Of all of its processes, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        process::memory(self.pid())
    }

    /// The numbers of the next line that begins with this word.
    ///
    /// # Errors
    ///
    /// There was none in time.
    pub(crate) fn says(&self, word: &str, within: Duration) -> io::Result<Vec<u64>> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).map_err(|_| {
                self.explain("a fixture", io::Error::other(format!("said no {word:?} within {within:?}")))
            })?;
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect());
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        kill(self.pid(), signal)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.signal(Signal::TERM);
        let deadline = Instant::now() + END;
        while Instant::now() < deadline && self.child.try_wait().is_ok_and(|status| status.is_none()) {
            thread::sleep(Duration::from_millis(5));
        }
        // Whatever has lost its parent is this process's child now.
        end_all();
        let _ = self.child.wait();
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
    }
}

pub(crate) fn kill(pid: i32, signal: Signal) -> io::Result<()> {
    let pid = Pid::from_raw(pid).ok_or(io::Error::other("no process"))?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// Kills all that descends from this process.
pub(crate) fn end_all() {
    let me = std::process::id() as i32;
    for pid in process::tree(me).into_iter().filter(|pid| *pid != me) {
        let _ = kill(pid, Signal::KILL);
    }
}

fn answers(address: SocketAddrV4) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

/// One that nothing listens on, and that no client is given, since those are from the range above.
pub(crate) fn free_port() -> io::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let first =
        range.split_ascii_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768_u16);
    let span = first.saturating_sub(10_000).max(1);
    for _ in 0..span {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id() as u16);
        let port = first - 1 - turn % span;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("every port below the clients' range is in use"))
}
