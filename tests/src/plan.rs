//! What to start: a fixture, its settings, and the circumstances it starts in.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Once, mpsc};
use std::time::Instant;
use std::{env, fs, process, thread};

use rustix::process::{geteuid, getpid, set_child_subreaper};

use crate::process::MARK;
use crate::running::Cluster;
use crate::story::{Event, Line};

/// A cluster that was not started yet.
#[derive(Clone, Debug)]
pub struct Plan {
    fixture: PathBuf,
    env: Vec<(String, String)>,
    prelude: String,
    args: Vec<String>,
    strace: Vec<String>,
    user: Option<u32>,
    given: Option<Arc<OwnedFd>>,
}

impl Plan {
    pub(crate) fn of(name: &str) -> Self {
        Self {
            fixture: fixture(name),
            env: Vec::new(),
            prelude: String::new(),
            args: Vec::new(),
            strace: Vec::new(),
            user: None,
            given: None,
        }
    }

    /// Starts a copy of the fixture, made at this path.
    ///
    /// # Panics
    /// When it cannot be copied.
    #[must_use]
    pub fn copied_to(mut self, path: &Path) -> Self {
        copy(&self.fixture, path);
        path.clone_into(&mut self.fixture);
        self
    }

    /// Starts what is at this path instead of the fixture: another name of it.
    pub(crate) fn found_at(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.fixture);
        self
    }

    /// Starts it with these arguments.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(ToString::to_string).collect();
        self
    }

    /// Sets a variable of the fixture's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// How many workers.
    #[must_use]
    pub fn workers(self, count: usize) -> Self {
        self.env("CLUSTER_WORKERS", count)
    }

    /// The addresses that the `serve` fixtures bind, apart by blanks; without it, a free port.
    #[must_use]
    pub fn bind(self, addresses: &str) -> Self {
        self.env("TEST_BIND", addresses)
    }

    /// Starts it as this user, and in the group of the same number.
    #[must_use]
    pub fn run_by(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Starts the fixture with these words of shell before its exec, such as `ulimit -n 64`.
    #[must_use]
    pub fn after(mut self, words: &str) -> Self {
        self.prelude = format!("{words}; ");
        self
    }

    /// Starts the fixture with this as its descriptor 3, and closes it here.
    #[must_use]
    pub fn given(mut self, descriptor: impl Into<OwnedFd>) -> Self {
        self.given = Some(Arc::new(descriptor.into()));
        // The standard library passes on nothing but the standard descriptors.
        self.after("exec 3<&0 0</dev/null")
    }

    /// Starts it by another program, in whose place it comes or whose child it is: `unshare --pid --fork`.
    #[must_use]
    pub fn started_by(mut self, words: &[&str]) -> Self {
        self.strace = words.iter().map(ToString::to_string).collect();
        self
    }

    /// Runs the primary (not its workers) under strace with this `inject=` expression, its trace in `file`.
    #[must_use]
    pub fn inject(mut self, fault: &str, file: &str) -> Self {
        // -D: strace is the one that is forked off, so that the fixture stays our child.
        self.strace = ["strace", "-D", "-q", "-o", file].map(str::to_owned).to_vec();
        self.with_fault(fault)
    }

    /// The same for the primary and all that are born of it.
    #[must_use]
    pub fn inject_everywhere(mut self, fault: &str, file: &str) -> Self {
        self.strace = ["strace", "-D", "-f", "-q", "-o", file].map(str::to_owned).to_vec();
        self.with_fault(fault)
    }

    fn with_fault(mut self, fault: &str) -> Self {
        let call = fault.split(':').next().unwrap_or_default();
        let expressions =
            ["-e".to_owned(), format!("trace={call}"), "-e".to_owned(), format!("inject={fault}")];
        self.strace.extend(expressions);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When the fixture cannot be started at all.
    #[must_use]
    pub fn start(self) -> Cluster {
        become_the_reaper();
        let mark = mark();
        let mut command = self.command();
        let given = self.given.map(|given| given.try_clone().expect("a duplicate"));
        command.stdin(given.map_or_else(Stdio::null, Stdio::from));
        command.env(MARK, &mark).stdout(Stdio::piped()).stderr(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (lines, story) = mpsc::channel();
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        read(stdout, lines.clone(), |line| Line::Event(Event::read(&line)), Line::EndOfEvents);
        read(stderr, lines, Line::Log, Line::EndOfLog);
        Cluster::running(format!("{command:?}"), mark, child, story, began)
    }

    fn command(&self) -> Command {
        let mut words: Vec<String> = self.strace.clone();
        if !self.prelude.is_empty() {
            words.extend(["sh".to_owned(), "-c".to_owned(), format!("{}exec \"$0\" \"$@\"", self.prelude)]);
        }
        words.push(self.fixture.display().to_string());
        words.extend(self.args.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        // The settings of the person who runs the tests are not the test's.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CLUSTER_") {
                command.env_remove(name);
            }
        }
        command.env_remove("RUST_BACKTRACE").env_remove("RUST_LOG");
        if by_exec() {
            command.env("CLUSTER_SPAWN", "exec");
        }
        if let Some(policy) = env::var_os("TEST_POLICY") {
            command.env("CLUSTER_POLICY", policy);
        }
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Copies a program by cp(1). Had this process the copy open for writing, a child that some other test's thread forks in that
/// moment would have it too until its own exec, and nobody can run a file that somebody may write to.
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("--").args([from, to]).status();
    assert!(copied.is_ok_and(|status| status.success()), "copy {} to {}", from.display(), to.display());
}

/// Where this fixture is.
pub(crate) fn fixture(name: &str) -> PathBuf {
    // Cargo builds the fixtures beside the folder of the test that runs.
    let test = env::current_exe().expect("the path of this test");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/TEST");
    let fixture = folder.join(name);
    assert!(fixture.exists(), "no fixture {}; see tests/src/bin", fixture.display());
    fixture
}

/// Whether this run of the tests starts all workers by exec: `TEST_SPAWN=exec`.
#[must_use]
pub fn by_exec() -> bool {
    env::var_os("TEST_SPAWN").is_some_and(|spawn| spawn == "exec")
}

/// Whether workers are forked in this run of the tests; says so if not. For what can't be otherwise: a nursery, and memory
/// that is shared with it.
#[must_use]
pub fn forks() -> bool {
    if by_exec() {
        println!("skipped: TEST_SPAWN=exec, and this is about workers that are forked");
    }
    !by_exec()
}

/// Whether this test may become another user; says so if not.
#[must_use]
pub fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        println!("skipped: this needs root");
    }
    root
}

/// Whether [`Plan::inject`] works here; says so if not.
#[must_use]
pub fn can_inject() -> bool {
    let traced = Command::new("strace").args(["-D", "-qq", "-o", "/dev/null", "true"]).status();
    let can = traced.is_ok_and(|status| status.success());
    if !can {
        println!("skipped: strace is not installed, or may not trace here");
    }
    can
}

/// Whether this can be started here, and succeeds; says so if not.
#[must_use]
pub fn can_run(words: &[&str]) -> bool {
    let ran = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let can = ran.is_ok_and(|status| status.success());
    if !can {
        println!("skipped: {words:?} is not there, or not permitted here");
    }
    can
}

/// Orphans of every cluster become children of this process instead of init's, so that a test can tell how they
/// ended. They are waited for one by one, by pid: other tests run as threads beside us.
fn become_the_reaper() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_child_subreaper(Some(getpid())).expect("become the subreaper"));
}

fn mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    // The boot's random id and our pid make the mark unique among test runs that share the machine.
    let random = fs::read_to_string("/proc/sys/kernel/random/uuid").expect("a uuid from the kernel");
    format!("{}-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed), random.trim())
}

fn read(
    pipe: impl Read + Send + 'static,
    lines: Sender<(Instant, Line)>,
    line: fn(String) -> Line,
    end: Line,
) {
    thread::spawn(move || {
        // The test may have failed and gone; then nobody listens.
        for text in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let _ = lines.send((Instant::now(), line(String::from_utf8_lossy(&text).into_owned())));
        }
        let _ = lines.send((Instant::now(), end));
    });
}
