//! This process: its limits, its environment, its parent's death, its threads.

use std::ffi::OsStr;
use std::io;
use std::num::NonZeroUsize;
use std::panic::catch_unwind;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one. Yields the limit in force.
pub(crate) fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// The soft limit of open files.
pub(crate) fn open_files_limit() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// How many CPUs the cluster may use, by affinity and quota; nothing where the kernel does not tell. Looked up once, in the
/// primary: a worker that is forked has it from there, and need not read its way through /proc and /sys before it listens.
pub(crate) fn cpus() -> Option<usize> {
    static CPUS: OnceLock<Option<usize>> = OnceLock::new();
    *CPUS.get_or_init(|| std::thread::available_parallelism().ok().map(NonZeroUsize::get))
}

/// How many threads this process has.
pub(crate) fn threads() -> io::Result<u64> {
    use std::os::linux::fs::MetadataExt;
    // A directory's link count is its subdirectories and two: cheaper than listing them before each fork.
    let links = std::fs::metadata("/proc/self/task")?.st_nlink();
    Ok(links.saturating_sub(2))
}

/// Asks for SIGTERM when the parent dies. Of no use if it has died already: see [`parent`].
///
/// Bound to the *thread* that forked, which is why the primary forks from its only one.
pub(crate) fn signal_on_parent_death() -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?)
}

/// The parent's pid; 0 when it lives in another pid namespace.
pub(crate) fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

/// Whether orphans become children of this process: as pid 1, or since it has asked for it.
pub(crate) fn adopts_orphans() -> io::Result<bool> {
    Ok(std::process::id() == 1 || nix::sys::prctl::get_child_subreaper()?)
}

/// The children of this process, of all its threads, that were not reaped.
pub(crate) fn children() -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task")? {
        let listed = std::fs::read_to_string(thread?.path().join("children"))?;
        children.extend(listed.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}

/// CLOCK_MONOTONIC, in microseconds: what service managers go by.
pub(crate) fn monotonic_micros() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

/// What a service manager says to the primary alone.
pub(super) const OF_THE_SERVICE_MANAGER: &[&str] = &[
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// Removes that, before any thread exists. A worker by exec was never told.
pub(crate) fn forget_service_manager() {
    for name in OF_THE_SERVICE_MANAGER.iter().filter(|name| std::env::var_os(name).is_some()) {
        set_variable(OsStr::new(name), None);
    }
}

/// Sets a variable, or removes it, before any thread exists. Neither has a NUL, nor the name a `=`.
pub(crate) fn set_variable(name: &OsStr, value: Option<&OsStr>) {
    // SAFETY: called right after fork, in a process of one thread: nobody can read the environment now.
    #[allow(unsafe_code, clippy::disallowed_methods, reason = "the one place where it is sound")]
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
}

/// Has `last` called when this process ends by exit(3): when `main` returns or panics, and by `std::process::exit` in
/// any thread. Whatever was registered later is called before. Not in a process that this one forks. Once in a process.
pub(crate) fn at_exit(last: fn()) -> io::Result<()> {
    static LAST: OnceLock<(u32, fn())> = OnceLock::new();
    extern "C" fn run() {
        if let Some((pid, last)) = LAST.get()
            && *pid == std::process::id()
        {
            // Nobody is left to be told of a panic, and it may not pass through C.
            let _ = catch_unwind(last);
        }
    }
    LAST.set((std::process::id(), last))
        .map_err(|_| io::Error::other("a second last thing to do at the exit"))?;
    // SAFETY: the handler is a function of this program, which is never unloaded, and no panic leaves it.
    #[allow(unsafe_code)]
    match unsafe { libc::atexit(run) } {
        0 => Ok(()),
        _ => Err(io::Error::other("atexit(3) has no room for one more")),
    }
}

/// How many bytes of memory this process has for itself alone: what would be free if it ended. The kernel walks all its pages
/// for it.
pub(crate) fn own_memory() -> io::Result<u64> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")
        .map_err(|error| io::Error::new(error.kind(), format!("/proc/self/smaps_rollup: {error}")))?;
    // `Private_Dirty:      1234 kB`
    let kilobytes = |line: &str| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    let own = rollup
        .lines()
        .filter(|line| line.starts_with("Private_Clean:") || line.starts_with("Private_Dirty:"));
    Ok(own.filter_map(kilobytes).sum::<u64>().saturating_mul(1024))
}

/// What the kernel calls this process, in `ps` and `top`.
pub(crate) fn name() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/self/comm")?.trim_end().to_owned())
}

/// Has the kernel call it so. For the main thread, whose name is the process's.
pub(crate) fn set_name(name: &str) -> io::Result<()> {
    Ok(nix::sys::prctl::set_name(&std::ffi::CString::new(name)?)?)
}

/// Ends this process at once: no destructor, no exit handler.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit(2) does nothing but end the process.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(status)
    }
}
