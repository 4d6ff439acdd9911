//! One running cluster, as the test that started it sees it.

use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::audit::Audit;
use crate::plan::Plan;
use crate::process;
use crate::story::{Event, Exited, Forked, Line, Story};
use crate::wait::{PATIENCE, eventually};

/// A running fixture. End it with [`stop`](Self::stop), [`ends`](Self::ends) or
/// [`orphaned`](Self::orphaned): each of them audits what is left behind.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) command: String,
    pub(crate) mark: String,
    pub(crate) child: Child,
    lines: Receiver<(Instant, Line)>,
    began: Instant,
    pub(crate) story: Story,
    pub(crate) audit: Audit,
    pub(crate) ended: bool,
}

impl Cluster {
    /// What to start: the name of a file in `src/bin`, without `.rs`.
    #[must_use]
    pub fn of(fixture: &str) -> Plan {
        Plan::of(fixture)
    }

    /// Starts a fixture with this many workers; waits until all of them listen.
    #[must_use]
    pub fn start(fixture: &str, workers: usize) -> Self {
        let mut cluster = Plan::of(fixture).workers(workers).start();
        cluster.up(workers);
        cluster
    }

    pub(crate) fn running(
        command: String,
        mark: String,
        child: Child,
        lines: Receiver<(Instant, Line)>,
        began: Instant,
    ) -> Self {
        let story = Story::default();
        Self { command, mark, child, lines, began, story, audit: Audit::default(), ended: false }
    }

    /// The primary's pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What [`process::carries`] knows its processes by.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// All that was read so far. Waits read on; this does not.
    #[must_use]
    pub fn story(&self) -> &Story {
        &self.story
    }

    /// Announces that some line of the log will contain this. Errors that no test announced fail the audit, and
    /// so does an announced line that never came.
    pub fn expect_log(&mut self, part: &str) {
        self.audit.announced.push(part.to_owned());
    }

    /// Blocks until `seen` finds what it looks for in the story so far.
    ///
    /// # Panics
    /// With the whole story, if it never comes.
    pub fn until<T>(&mut self, what: &str, mut seen: impl FnMut(&Story) -> Option<T>) -> T {
        // Of a cluster that goes on telling it is known that it is slow, and not that it stands still.
        let end = Instant::now() + 4 * PATIENCE;
        loop {
            if let Some(found) = seen(&self.story) {
                return found;
            }
            if !self.read_on(end.min(Instant::now() + PATIENCE)) {
                self.fail(&format!("waited in vain for {what}"));
            }
        }
    }

    /// Blocks until this many workers listen; the first address.
    pub fn up(&mut self, workers: usize) -> String {
        let address = self.until(&format!("{workers} listening workers"), |story| {
            let up = story.listening().len() == workers;
            story.addresses().first().filter(|_| up).map(ToString::to_string)
        });
        self.audit.learn(&self.story, self.child.id());
        address
    }

    /// Blocks until worker `id` listens; its first address.
    pub fn listening(&mut self, id: u64) -> String {
        self.until(&format!("worker {id} to listen"), |story| {
            story.events().find_map(|event| match event {
                Event::Listening { id: other, address, .. } if *other == id => Some(address.clone()),
                _ => None,
            })
        })
    }

    /// Blocks until worker `id` is born.
    pub fn fork(&mut self, id: u64) -> Forked {
        self.until(&format!("worker {id}'s birth"), |story| story.forks().find(|fork| fork.id == id).cloned())
    }

    /// Blocks until worker `id` ended.
    pub fn exit(&mut self, id: u64) -> Exited {
        self.until(&format!("worker {id}'s end"), |story| story.exits().find(|exit| exit.id == id).cloned())
    }

    /// Blocks until some process of the cluster printed exactly this.
    pub fn said(&mut self, text: &str) {
        self.until(&format!("the line {text:?}"), |story| story.said(text).then_some(()));
    }

    /// Blocks until some process of the cluster printed a line that begins with this; what follows.
    pub fn told(&mut self, begin: &str) -> String {
        self.until(&format!("a line that begins with {begin:?}"), |story| {
            story.events().find_map(|event| match event {
                Event::Said(line) => line.strip_prefix(begin).map(str::to_owned),
                _ => None,
            })
        })
    }

    /// Blocks until the log has a line with this; that line.
    pub fn logged(&mut self, part: &str) -> String {
        self.until(&format!("the log's {part:?}"), |story| {
            story.log().find(|line| line.contains(part)).map(str::to_owned)
        })
    }

    /// Reads the story for this long, whatever comes.
    pub fn listen_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && self.read_on(end) {}
    }

    /// Tells the audit that this address will still be listened on: by us; or that its file will stay, since nobody is left
    /// who could remove it.
    pub fn shares(&mut self, address: &str) {
        self.audit.shared.push(address.to_owned());
    }

    /// Tells the audit that this socket file is not the cluster's to remove, or that there will be nobody to do it.
    pub fn leaves(&mut self, path: &Path) {
        self.audit.left.push(path.to_owned());
    }

    /// Sends the primary a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.child.id(), signal);
    }

    /// Sends worker `id` a signal, as a person with a shell would.
    pub fn signal_worker(&mut self, id: u64, signal: Signal) {
        process::signal(self.fork(id).pid, signal);
    }

    /// Has worker `id` stand still, and waits until it does: the signal wakes one of its threads, and until that has a processor
    /// the others go on.
    pub fn stop_worker(&mut self, id: u64) {
        self.signal_worker(id, Signal::STOP);
        let pid = self.fork(id).pid;
        let stands_still = || process::state(pid).is_some_and(|(state, _)| state == 'T');
        self.eventually(&format!("worker {id} to stand still"), stands_still);
    }

    /// Fails the test if this is not so, with the whole story.
    #[track_caller]
    pub fn check(&mut self, holds: bool, what: &str) {
        if !holds {
            self.fail(&format!("expected {what}"));
        }
    }

    /// Waits, by polling, for what no event tells; fails the test with the whole story otherwise.
    #[track_caller]
    pub fn eventually(&mut self, what: &str, holds: impl FnMut() -> bool) {
        if !eventually(PATIENCE, holds) {
            self.fail(&format!("waited in vain for {what}"));
        }
    }

    /// Fails the test with the whole story.
    #[track_caller]
    pub fn fail(&mut self, why: &str) -> ! {
        // What is in the pipes already belongs to the story.
        while self.read_on(Instant::now() + Duration::from_millis(20)) {}
        let alive: Vec<_> = process::marked(&self.mark).into_iter().map(process::describe).collect();
        panic!(
            "{why}\n\ncommand: {}\nprimary: {}\n\nstory:\n{}\nprocesses that are left:\n{}\n",
            self.command,
            self.child.id(),
            self.story,
            alive.join("\n")
        );
    }

    /// Reads one more line; false if the deadline or the end of the story came first.
    pub(crate) fn read_on(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok((at, line)) => {
                self.story.add(at.saturating_duration_since(self.began), line);
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }
}
