//! In a test: a service manager, as far as sd_notify(3) goes.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, process};

use crate::wait::PATIENCE;

/// Listens for what a service tells.
#[derive(Debug)]
pub struct Systemd {
    socket: UnixDatagram,
    address: String,
    /// One message each.
    heard: Vec<String>,
}

impl Systemd {
    /// On a path.
    ///
    /// # Panics
    /// When it can't be bound.
    #[must_use]
    pub fn at_a_path() -> Self {
        let path = env::temp_dir().join(name());
        let socket = UnixDatagram::bind(&path).expect("bind a socket for a service");
        Self { socket, address: path.display().to_string(), heard: Vec::new() }
    }

    /// On a name in the abstract namespace.
    ///
    /// # Panics
    /// When it can't be bound.
    #[must_use]
    pub fn at_a_name() -> Self {
        let address = SocketAddr::from_abstract_name(name()).expect("a short name");
        let socket = UnixDatagram::bind_addr(&address).expect("bind a socket for a service");
        Self { socket, address: format!("@{}", name_of(&address)), heard: Vec::new() }
    }

    /// For NOTIFY_SOCKET.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Blocks until a message has this line; that message.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn until(&mut self, line: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while let Some(message) = self.next(deadline) {
            if message.lines().any(|one| one.starts_with(line)) {
                return message;
            }
        }
        panic!("waited in vain for {line:?}; heard: {:#?}", self.heard)
    }

    /// Whether a message comes within this time.
    pub fn hears_within(&mut self, time: Duration) -> bool {
        self.next(Instant::now() + time).is_some()
    }

    /// Reads what was told already.
    pub fn catch_up(&mut self) -> usize {
        std::iter::from_fn(|| self.next(Instant::now())).count()
    }

    /// All assignments so far, in order, but for those that tell how it goes on: STATUS, WATCHDOG and times.
    pub fn turns(&mut self) -> Vec<String> {
        self.catch_up();
        let passing = ["STATUS=", "WATCHDOG=", "MONOTONIC_USEC="];
        let lines = self.heard.iter().flat_map(|message| message.lines());
        lines.filter(|line| !passing.iter().any(|name| line.starts_with(name))).map(str::to_owned).collect()
    }

    /// Every status so far.
    pub fn statuses(&mut self) -> Vec<String> {
        self.catch_up();
        let lines = self.heard.iter().flat_map(|message| message.lines());
        lines.filter_map(|line| line.strip_prefix("STATUS=").map(str::to_owned)).collect()
    }

    fn next(&mut self, deadline: Instant) -> Option<String> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(left)).expect("set a timeout");
        let mut bytes = [0; 4096];
        match self.socket.recv(&mut bytes) {
            Ok(length) => {
                let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
                self.heard.push(message.clone());
                Some(message)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                None
            }
            Err(error) => panic!("reading what a service tells: {error}"),
        }
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if self.address.starts_with('/') {
            let _ = fs::remove_file(&self.address);
        }
    }
}

fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("cluster-notify-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn name_of(address: &SocketAddr) -> String {
    String::from_utf8_lossy(address.as_abstract_name().unwrap_or_default()).into_owned()
}
