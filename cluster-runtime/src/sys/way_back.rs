//! Another image in the place of this one, out of code that hangs, exits or aborts.
//!
//! Such code may hold any lock, that of the allocator too. So all that an exec needs is made before it runs, and what is left for
//! then are system calls, in a handler: of a timer, of SIGABRT, and at exit(3). SIGKILL, _exit(2) and a fault are not met.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};

use super::exec::{self, Argv};
use super::passed::Fd;

/// The one of the kernel's timers that nobody uses: profilers have SIGPROF, and SIGALRM is anybody's.
const ALARM: Signal = Signal::SIGVTALRM;

/// What is executed. Never freed: a handler may look at it at any time.
struct Way {
    /// Of this process, and of its main thread. What is forked from it meanwhile is another, and has no such way.
    pid: libc::pid_t,
    argv: Argv,
    program: RawFd,
    left: Vec<RawFd>,
    /// Those that have a handler here, and in the program would end it.
    own: SigSet,
    all: SigSet,
    /// This thread's mask, while this is open.
    mask: SigSet,
    /// Signals the main thread. An exec flushes what a timer has sent, and nothing that was sent in another way: two threads that
    /// abort at one time would leave the program a signal that ends it. A process's first timer may well be a null.
    timer: AtomicPtr<libc::c_void>,
}

static WAY: OnceLock<Way> = OnceLock::new();

/// Whether it is to be taken.
static OPEN: AtomicBool = AtomicBool::new(false);

/// As long as this lives, a program is executed in the place of this process's end, or when the time is over.
#[derive(Debug)]
pub(crate) struct WayBack {
    timer: libc::timer_t,
    before: Vec<(Signal, SigAction)>,
    mask: SigSet,
}

impl WayBack {
    /// Once in a process. `left` stays open in the program, and nothing else that is CLOEXEC; all of them are
    /// to be kept for as long as this.
    pub(crate) fn open(program: &impl AsFd, left: &[&Fd], within: Duration) -> io::Result<WayBack> {
        exec::on_main_thread()?;
        let before = SigSet::thread_get_mask()?;
        let (mut own, mut mask) = (SigSet::empty(), before);
        for signal in [ALARM, Signal::SIGABRT] {
            own.add(signal);
            mask.remove(signal);
        }
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let mut way_back = WayBack { timer: make_timer(pid)?, before: Vec::new(), mask: before };
        let way = Way {
            pid,
            argv: Argv::own()?,
            program: program.as_fd().as_raw_fd(),
            left: left.iter().map(|fd| fd.number()).collect(),
            own,
            all: SigSet::all(),
            mask,
            timer: AtomicPtr::new(way_back.timer),
        };
        WAY.set(way).map_err(|_| io::Error::other("a second way back"))?;
        // SAFETY: the handler is a function of this program, which is never unloaded, and does system calls only.
        #[allow(unsafe_code)]
        if unsafe { libc::atexit(take) } != 0 {
            return Err(io::Error::other("atexit(3) has no room for one more"));
        }
        for signal in [ALARM, Signal::SIGABRT] {
            let action = SigAction::new(SigHandler::Handler(at_signal), SaFlags::SA_RESTART, SigSet::all());
            // SAFETY: as above.
            #[allow(unsafe_code)]
            way_back.before.push((signal, unsafe { sigaction(signal, &action) }?));
        }
        OPEN.store(true, Ordering::Release);
        mask.thread_set_mask()?;
        // Where it can't be executed when the time is over, it is tried again.
        set(way_back.timer, within, within)?;
        Ok(way_back)
    }
}

impl Drop for WayBack {
    fn drop(&mut self) {
        // First: whatever comes from now on comes too late.
        OPEN.store(false, Ordering::Release);
        // SAFETY: it was made for this, and is deleted once. Whoever still has its number in hand is refused.
        #[allow(unsafe_code)]
        if unsafe { libc::timer_delete(self.timer) } != 0 {
            let error = io::Error::last_os_error();
            crate::report::error(format_args!("deleting a timer: {error}"));
        }
        // What it has sent while that code had it blocked still has its handler, and is to meet nothing worse.
        let undone = SigSet::from(ALARM)
            .thread_swap_mask(SigmaskHow::SIG_UNBLOCK)
            .and_then(|_| self.mask.thread_set_mask());
        if let Err(error) = undone {
            crate::report::error(format_args!("blocking {ALARM} again: {error}"));
        }
        for (signal, action) in self.before.drain(..) {
            // SAFETY: this action was in force before, so its handler, if it has one, is fit for it.
            #[allow(unsafe_code)]
            if let Err(error) = unsafe { sigaction(signal, &action) } {
                crate::report::error(format_args!("giving {signal} back its action: {error}"));
            }
        }
    }
}

/// One that signals this thread, and no other that has inherited its mask.
fn make_timer(thread: libc::pid_t) -> io::Result<libc::timer_t> {
    let mut timer = ptr::null_mut();
    // SAFETY: a sigevent of zeros is a whole one, and both live for as long as the call takes.
    #[allow(unsafe_code)]
    let made = unsafe {
        let mut event: libc::sigevent = mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = ALARM as libc::c_int;
        event.sigev_notify_thread_id = thread;
        libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer)
    };
    if made == 0 { Ok(timer) } else { Err(io::Error::last_os_error()) }
}

fn set(timer: libc::timer_t, first: Duration, then: Duration) -> io::Result<()> {
    let spec = |time: Duration| libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(time.subsec_nanos().cast_signed()),
    };
    let times =
        libc::itimerspec { it_interval: spec(then), it_value: spec(first.max(Duration::from_nanos(1))) };
    // SAFETY: a timer of this process, and times that live for as long as the call takes.
    #[allow(unsafe_code)]
    match unsafe { libc::timer_settime(timer, 0, &raw const times, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Said to nobody but the log, by whoever can say no more.
const FAILED: &[u8] = b"upgrade: the program before could not be executed\n";

static NO_TIME: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 0 };

static AT_ONCE: libc::itimerspec = libc::itimerspec {
    it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
    it_value: libc::timespec { tv_sec: 0, tv_nsec: 1 },
};

extern "C" fn at_signal(_: i32) {
    // SAFETY: errno belongs to the code that was interrupted, and goes on if it can't be left.
    #[allow(unsafe_code)]
    unsafe {
        let errno = *libc::__errno_location();
        take();
        *libc::__errno_location() = errno;
    }
}

/// Returns where there is no such way, or it can't be taken; then this process ends as it would have, or hangs on.
extern "C" fn take() {
    let Some(way) = WAY.get().filter(|_| OPEN.load(Ordering::Acquire)) else { return };
    // SAFETY: system calls only, and of what was made before.
    #[allow(unsafe_code)]
    unsafe {
        if libc::getpid() != way.pid {
            return;
        }
        if libc::syscall(libc::SYS_gettid) != libc::c_long::from(way.pid) {
            // The workers' parent death signal is bound to the main thread: so that does it, and ends this one. It may have its
            // signals blocked, and no more is to be waited for.
            libc::timer_settime(way.timer.load(Ordering::Relaxed), 0, &raw const AT_ONCE, ptr::null_mut());
            for _ in 0..1000 {
                libc::poll(ptr::null_mut(), 0, 10);
            }
            return;
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, way.all.as_ref(), ptr::null_mut());
        // Of these none may wait: the program has no handler for them.
        while libc::sigtimedwait(way.own.as_ref(), ptr::null_mut(), &raw const NO_TIME) > 0 {}
        let mut kept = true;
        for fd in &way.left {
            kept &= libc::fcntl(*fd, libc::F_SETFD, 0) == 0;
        }
        if kept {
            way.argv.execute(BorrowedFd::borrow_raw(way.program));
        }
        for fd in &way.left {
            libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
        libc::write(libc::STDERR_FILENO, FAILED.as_ptr().cast(), FAILED.len());
        libc::pthread_sigmask(libc::SIG_SETMASK, way.mask.as_ref(), ptr::null_mut());
    }
}
