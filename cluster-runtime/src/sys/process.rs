//! This process: its limits, its environment, its parent's death, its threads.

use std::io;

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
#[cfg_attr(not(feature = "actix"), allow(dead_code))]
pub(crate) fn open_files_limit() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
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

/// Removes what a service manager said to the primary alone, before any thread exists.
pub(crate) fn forget_service_manager() {
    const OF_THE_PRIMARY: &[&str] =
        &["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
    for name in OF_THE_PRIMARY.iter().filter(|name| std::env::var_os(name).is_some()) {
        // SAFETY: called right after fork, in a process of one thread: nobody can read the environment now.
        #[allow(unsafe_code, clippy::disallowed_methods, reason = "the one place where it is sound")]
        unsafe {
            std::env::remove_var(name);
        }
    }
}

/// Ends this process at once: no destructor, no exit handler.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit(2) does nothing but end the process.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(status)
    }
}

/// Has `callback` called when this process exits by itself, on the thread that ends it, while others still run.
pub(crate) fn at_exit(callback: extern "C" fn()) -> io::Result<()> {
    // SAFETY: atexit(3) keeps the function, which lives as long as the program, and calls it without arguments.
    #[allow(unsafe_code)]
    let failed = unsafe { libc::atexit(callback) };
    match failed {
        0 => Ok(()),
        _ => Err(io::Error::other("the C library takes no more functions to be called at exit")),
    }
}
