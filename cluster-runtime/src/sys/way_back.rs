//! Another image in the place of this one, out of code that hangs, exits or aborts.
//!
//! Such code may hold any lock, that of the allocator too. So all that an exec needs is made before it runs, and what is left for
//! then are system calls, in a handler: of a timer, of SIGABRT, and at exit(3). SIGKILL, _exit(2) and a fault are not met.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{
    SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, SigmaskHow, Signal, sigaction,
};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;

use super::exec::Argv;
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
}

static WAY: OnceLock<Way> = OnceLock::new();

/// Whether it is to be taken.
static OPEN: AtomicBool = AtomicBool::new(false);

/// As long as this lives, a program is executed in the place of this process's end, or when the time is over.
#[derive(Debug)]
pub(crate) struct WayBack {
    timer: Option<Timer>,
    before: Vec<(Signal, SigAction)>,
    mask: SigSet,
}

impl WayBack {
    /// On the main thread, once in a process. `left` stays open in the program, and nothing else that is CLOEXEC; all of them are
    /// to be kept for as long as this.
    pub(crate) fn open(program: &impl AsFd, left: &[&Fd], within: Duration) -> io::Result<WayBack> {
        let way = Way {
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            argv: Argv::own()?,
            program: program.as_fd().as_raw_fd(),
            left: left.iter().map(|fd| fd.number()).collect(),
        };
        WAY.set(way).map_err(|_| io::Error::other("a second way back"))?;
        // SAFETY: the handler is a function of this program, which is never unloaded, and does system calls only.
        #[allow(unsafe_code)]
        if unsafe { libc::atexit(take) } != 0 {
            return Err(io::Error::other("atexit(3) has no room for one more"));
        }
        let mut way_back = WayBack { timer: None, before: Vec::new(), mask: SigSet::thread_get_mask()? };
        for signal in [ALARM, Signal::SIGABRT] {
            // All others blocked meanwhile, and so in the program, until it says otherwise.
            let action = SigAction::new(SigHandler::Handler(at_signal), SaFlags::SA_RESTART, SigSet::all());
            // SAFETY: as above.
            #[allow(unsafe_code)]
            way_back.before.push((signal, unsafe { sigaction(signal, &action) }?));
        }
        OPEN.store(true, Ordering::Release);
        SigSet::from(ALARM).thread_swap_mask(SigmaskHow::SIG_UNBLOCK)?;
        let told = SigevNotify::SigevSignal { signal: ALARM, si_value: 0 };
        let timer = way_back.timer.insert(Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(told))?);
        let millis = i64::try_from(within.as_millis()).unwrap_or(i64::MAX).max(1);
        timer.set(Expiration::OneShot(TimeSpec::milliseconds(millis)), TimerSetTimeFlags::empty())?;
        Ok(way_back)
    }
}

impl Drop for WayBack {
    fn drop(&mut self) {
        // First: whatever comes from now on comes too late.
        OPEN.store(false, Ordering::Release);
        self.timer = None;
        if let Err(error) = self.mask.thread_set_mask() {
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

extern "C" fn at_signal(_: i32) {
    take();
}

/// Returns where there is no such way, or it can't be taken; then this process ends as it would have.
extern "C" fn take() {
    let Some(way) = WAY.get().filter(|_| OPEN.load(Ordering::Acquire)) else { return };
    // SAFETY: system calls only, and of what was made before. errno is of no use to who ends here.
    #[allow(unsafe_code)]
    unsafe {
        if libc::getpid() != way.pid {
            return;
        }
        if libc::syscall(libc::SYS_gettid) != libc::c_long::from(way.pid) {
            // The workers' parent death signal is bound to the main thread, so it is the one to do it; and it ends this one.
            libc::syscall(libc::SYS_tgkill, way.pid, way.pid, ALARM as libc::c_int);
            while OPEN.load(Ordering::Acquire) {
                libc::poll(std::ptr::null_mut(), 0, 10);
            }
            return;
        }
        let keep = |flags: libc::c_int| way.left.iter().all(|fd| libc::fcntl(*fd, libc::F_SETFD, flags) == 0);
        if keep(0) {
            way.argv.execute(BorrowedFd::borrow_raw(way.program));
        }
        keep(libc::FD_CLOEXEC);
    }
    OPEN.store(false, Ordering::Release);
}
