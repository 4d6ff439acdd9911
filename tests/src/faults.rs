//! Faults that the kernel is made to answer with, by strace(1): from the start on, or from some moment on.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;

use crate::process;
use crate::wait::{PATIENCE, eventually};

/// A file of the kernel's answers, removed when this is dropped.
#[derive(Debug)]
pub struct Trace(PathBuf);

impl Default for Trace {
    fn default() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("cluster-trace-{}-{number}", std::process::id())))
    }
}

impl Trace {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> String {
        self.0.display().to_string()
    }

    /// What was traced so far.
    #[must_use]
    pub fn read(&self) -> String {
        fs::read_to_string(&self.0).unwrap_or_default()
    }

    /// How many calls were answered by a fault so far.
    #[must_use]
    pub fn injected(&self) -> usize {
        self.read().matches("(INJECTED").count()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // Nothing was traced, if it is not there.
        let _ = fs::remove_file(&self.0);
    }
}

/// strace on a process that runs: a worker with all of its threads, or the primary without what is born of it. It lets
/// go when this is dropped; a call that it is about to fail at this moment is answered by ENOSYS, so that a fault that must
/// not be any other has an end of its own: `when=1..5`.
#[derive(Debug)]
pub struct Fault {
    strace: Child,
    /// Where it says whom it has attached to; kept, so that it may go on saying so.
    _said: BufReader<ChildStderr>,
    trace: Trace,
}

impl Fault {
    /// From now on, this process meets this fault: an `inject=` expression. Blocks until it does.
    ///
    /// # Panics
    /// Where it cannot be traced; ask [`can_inject`](crate::can_inject) first.
    #[must_use]
    pub fn attach(pid: u32, fault: &str) -> Self {
        let trace = Trace::default();
        let call = fault.split(':').next().unwrap_or_default();
        let threads = if process::threads(pid) > 1 { &["-f"][..] } else { &[] };
        let mut strace = Command::new("strace")
            .args(threads)
            .args(["-o", &trace.path(), "-p", &pid.to_string()])
            .args(["-e", &format!("trace={call}"), "-e", &format!("inject={fault}")])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start strace");
        // The kernel names it as the tracer a moment before it has interrupted what it traces, and until then calls pass it by.
        let mut said = BufReader::new(strace.stderr.take().expect("piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("its word");
        assert!(line.contains("attached"), "strace does not attach to {pid}: {line}");
        Self { strace, _said: said, trace }
    }

    /// What was traced so far.
    #[must_use]
    pub fn trace(&self) -> String {
        self.trace.read()
    }

    /// How many calls were answered by a fault so far.
    #[must_use]
    pub fn injected(&self) -> usize {
        self.trace.injected()
    }

    /// Ends the fault; what was traced.
    #[must_use]
    pub fn end(mut self) -> String {
        self.let_go();
        self.trace.read()
    }

    /// Ends it as soon as this process, which it traces, is dead; or not, if that lives on for a while.
    pub fn end_with(&mut self, pid: u32) {
        let is_dead = || process::state(pid).is_none_or(|(state, _)| state == 'Z');
        if eventually(PATIENCE / 10, is_dead) {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        if !matches!(self.strace.try_wait(), Ok(None)) {
            return;
        }
        // Asked to, it detaches: killed, it would leave a process behind that is stopped. But where all that it traces is
        // dead it may wait for that for ever, and keep it from being reaped.
        process::signal(self.strace.id(), Signal::TERM);
        if !eventually(PATIENCE / 5, || !matches!(self.strace.try_wait(), Ok(None))) {
            let _ = self.strace.kill();
        }
        let _ = self.strace.wait();
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.let_go();
    }
}
