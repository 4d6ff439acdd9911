//! Births. The only two ways a process of the cluster comes into being.
//!
//! Both copy the caller's address space, and both are sound only in a process of one thread: a lock that
//! another thread held at that moment would stay locked in the child for ever. Hence [`single_threaded`],
//! which both go through.

use std::io::{self, Write};

/// Which side of a birth we are on.
pub(crate) enum Birth {
    Parent { child: u32 },
    Child,
}

/// Forks; the child is ours.
pub(crate) fn fork() -> io::Result<Birth> {
    prepare()?;
    // SAFETY: one thread only, checked above, so no lock is held by anybody but us and the child may allocate.
    #[allow(unsafe_code, clippy::disallowed_methods, reason = "this is sys::fork")]
    let result = unsafe { nix::unistd::fork() }?;
    Ok(match result {
        nix::unistd::ForkResult::Parent { child } => Birth::Parent { child: child.as_raw().cast_unsigned() },
        nix::unistd::ForkResult::Child => Birth::Child,
    })
}

/// Forks; the child is our parent's: it alone gets to know of its end and reaps it.
///
/// The nursery's way. The rejected alternative, a double fork into a subreaper, would make the primary the
/// parent of every orphan of its workers too.
pub(crate) fn fork_sibling() -> io::Result<Birth> {
    prepare()?;
    let mut flags = libc::CLONE_PARENT | libc::SIGCHLD;
    let tid = tid_of_libc();
    if tid != 0 {
        flags |= libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    }
    let flags = libc::c_long::from(flags);
    // SAFETY: as fork above; without a new stack clone returns twice on a copy of this one, as fork does. It
    // bypasses the handlers of pthread_atfork, which guard locks between threads: there is one thread. Where
    // the kernel writes the child's number is where the C library has its own, in the child's copy. Which argument that is
    // depends on the architecture; the other is not looked at.
    #[allow(unsafe_code)]
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, tid, tid) };
    match u32::try_from(pid) {
        Ok(0) => Ok(Birth::Child),
        Ok(child) => Ok(Birth::Parent { child }),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Where the C library keeps this thread's number, which fork(3) would renew in the child: pthread_kill, setuid and others
/// go by it. 0 where it is not known, or not there: musl has a lock in that place.
fn tid_of_libc() -> usize {
    const PR_GET_TID_ADDRESS: libc::c_int = 40;
    let mut address: usize = 0;
    // SAFETY: the kernel writes one pointer, and what it points to is what it will write to at this thread's end.
    #[allow(unsafe_code)]
    unsafe {
        let known = libc::prctl(PR_GET_TID_ADDRESS, &raw mut address) == 0 && address != 0;
        if known && *(address as *const libc::pid_t) == libc::gettid() { address } else { 0 }
    }
}

fn prepare() -> io::Result<()> {
    single_threaded()?;
    // What is still in the buffer would be printed by both sides. Where nothing can be printed at all, so be it:
    // a full disk behind stdout must not keep a worker from being replaced.
    let _ = io::stdout().flush();
    Ok(())
}

/// Refuses to go on when another thread exists.
pub(crate) fn single_threaded() -> io::Result<()> {
    match super::process::threads()? {
        0 | 1 => Ok(()),
        more => Err(io::Error::other(format!(
            "this process has {more} threads, and only a process of one thread can be forked safely: start \
             threads and runtimes in the body of main, which runs in the workers"
        ))),
    }
}
