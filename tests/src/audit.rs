//! The end of every test: what a cluster must not leave behind.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process;
use crate::running::Cluster;
use crate::story::Story;
use crate::wait::{PATIENCE, eventually};

/// How long after the primary's end the last traces of its cluster may take to vanish. What is left by mistake stays for longer
/// than any machine stands still.
const LINGERING: Duration = Duration::from_secs(8);

/// What is learnt while the cluster runs, to be compared at its end.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// Parts of log lines that the test expects.
    pub(crate) announced: Vec<String>,
    /// Addresses that somebody else listens on too.
    pub(crate) shared: Vec<String>,
    /// Socket files that may stay.
    pub(crate) left: Vec<PathBuf>,
    /// The sockets that listened. A port may be another test's by the end; an inode is never two sockets'.
    listeners: Vec<String>,
    /// How many descriptors the primary had when this many workers were up.
    baseline: Option<(usize, usize)>,
}

impl Audit {
    /// Notes listeners and, the first time, the primary's descriptors, while all workers are up.
    pub(crate) fn learn(&mut self, story: &Story, primary: u32) {
        for address in story.addresses() {
            self.listeners.extend(process::listening_inodes(address));
        }
        if self.baseline.is_none() {
            self.baseline = Some((story.listening().len(), process::descriptors(primary).len()));
        }
    }
}

impl Cluster {
    /// Stops the cluster gracefully, demands that it succeeds, and audits; all that was ever said.
    pub fn stop(mut self) -> Story {
        self.at_rest();
        self.signal(Signal::TERM);
        self.ends(0)
    }

    /// Waits for the primary to end by itself, or by what the test did, with this status, and audits.
    pub fn ends(mut self, code: i32) -> Story {
        if !process::exits_within(self.child.id(), PATIENCE) {
            self.fail("the primary does not end");
        }
        let status = self.child.wait().expect("wait for the primary");
        if status.code() != Some(code) {
            self.fail(&format!("the primary should have ended with code {code}, it ended with {status}"));
        }
        self.nothing_is_left();
        // A primary reaps its workers. One that it left as a zombie has become ours.
        let pids: Vec<u32> = self.story.forks().map(|fork| fork.pid).collect();
        for pid in pids {
            if let Some(status) = process::reap(pid) {
                self.fail(&format!("the primary left worker process {pid} as a zombie, {status:?}"));
            }
        }
        self.ended = true;
        std::mem::take(&mut self.story)
    }

    /// After the test made the primary die without a word to its workers: demands that every one of them is gone
    /// within `limit`, and audits. How they ended, in the order of their births: the code, or minus the signal.
    pub fn orphaned(self, limit: Duration) -> Vec<i32> {
        self.orphaned_by(None, limit)
    }

    /// The same of a primary that ends with this status: a code, or minus the signal.
    pub fn orphaned_by(mut self, status: Option<i32>, limit: Duration) -> Vec<i32> {
        let end = Instant::now() + limit;
        if !process::exits_within(self.child.id(), limit) {
            self.fail("the primary does not die");
        }
        let ended = self.child.wait().expect("wait for the primary");
        let how = ended.code().or(ended.signal().map(|signal| -signal));
        if status.is_some_and(|status| how != Some(status)) {
            self.fail(&format!("the primary should have ended with {status:?}, it ended with {ended}"));
        }
        // The workers' pids stand in what the primary announced before.
        while self.read_on(Instant::now()) {}
        let pids: Vec<u32> = self.story.forks().map(|fork| fork.pid).collect();
        let mut how = Vec::new();
        for pid in pids {
            if !process::exits_within(pid, end.saturating_duration_since(Instant::now())) {
                self.fail(&format!("worker process {pid} outlives its primary by {limit:?}"));
            }
            // Those that had died before were reaped by the primary.
            if let Some(status) = process::reap(pid) {
                let killed = status.terminating_signal().map(|signal| -signal);
                how.push(killed.or(status.exit_status()).unwrap_or(i32::MAX));
            }
        }
        self.nothing_is_left();
        self.ended = true;
        how
    }

    /// What holds of a cluster with nothing to do.
    fn at_rest(&mut self) {
        while self.read_on(Instant::now()) {}
        let primary = self.child.id();
        if !eventually(PATIENCE, || process::zombies_of(primary).is_empty()) {
            self.fail(&format!("the primary does not reap {:?}", process::zombies_of(primary)));
        }
        let Some((workers, baseline)) = self.audit.baseline else { return };
        if workers == self.story.listening().len()
            && !eventually(PATIENCE, || process::descriptors(primary).len() <= baseline)
        {
            let open = process::descriptors(primary);
            self.fail(&format!("the primary's descriptors grew from {baseline} to {}: {open:?}", open.len()));
        }
    }

    /// What holds after every end, however it came.
    fn nothing_is_left(&mut self) {
        let deadline = Instant::now() + LINGERING;
        while !self.story.is_over() {
            if !self.read_on(deadline) {
                self.fail("some process still holds the cluster's standard output or error");
            }
        }
        let mark = self.mark.clone();
        if !eventually(LINGERING, || process::marked(&mark).is_empty()) {
            self.fail("a process of the cluster outlives it");
        }
        for address in self.story.addresses().into_iter().map(str::to_owned).collect::<Vec<_>>() {
            let still = process::listening_inodes(&address);
            let shared = self.audit.shared.contains(&address);
            if !shared && still.iter().any(|inode| self.audit.listeners.contains(inode)) {
                self.fail(&format!("{address} is still listened on"));
            }
            let file = address.strip_prefix("unix:").map(Path::new);
            let left = |file: &Path| self.audit.left.iter().any(|left| left == file);
            if !shared && file.is_some_and(|file| file.exists() && !left(file)) {
                self.fail(&format!("the socket file of {address} is still there"));
            }
        }
        self.judge_the_log();
    }

    fn judge_the_log(&mut self) {
        let announced = &self.audit.announced;
        let ours = |line: &str| announced.iter().any(|part| line.contains(part.as_str()));
        let ordinary = |line: &str| {
            // A panic's frame; its own line has to be announced.
            if line.is_empty() || line.starts_with("note: run with `RUST_BACKTRACE") {
                return true;
            }
            let notice = line.strip_prefix("cluster[").and_then(|rest| rest.split_once("]: "));
            notice.is_some_and(|(pid, text)| pid.parse::<u32>().is_ok() && !is_alarming(text))
        };
        let alarm = self.story.log().find(|line| !ours(line) && !ordinary(line)).map(str::to_owned);
        if let Some(line) = alarm {
            self.fail(&format!("unexpected in the log: {line}"));
        }
        let never = announced.iter().find(|part| !self.story.log().any(|line| line.contains(part.as_str())));
        if let Some(part) = never.cloned() {
            self.fail(&format!("expected in the log, never came: {part}"));
        }
    }
}

fn is_alarming(text: &str) -> bool {
    text.starts_with("error: ") || text.contains("panicked")
}

impl Drop for Cluster {
    /// Only a test that failed gets here with processes left.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        process::signal(self.child.id(), Signal::KILL);
        for pid in process::marked(&self.mark) {
            process::signal(pid, Signal::KILL);
        }
        let _ = self.child.wait();
        assert!(std::thread::panicking(), "a test ends its cluster by stop(), ends() or orphaned()");
    }
}
