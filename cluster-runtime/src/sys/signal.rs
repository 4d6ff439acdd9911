//! Signals: events in the primary, a wake-up in a worker.
//!
//! The primary blocks those it lives by and reads them from a descriptor, so that no code of ours ever runs in
//! a signal handler there. A worker gets its mask back at birth and has two handlers that only write to a
//! descriptor: user code in it may install its own, and a child that it starts inherits no blocked signal.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals read as events, as long as this lives.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Blocks `signals` (by number) in this thread and opens the descriptor that reports them.
    pub(crate) fn watch(signals: impl IntoIterator<Item = i32>) -> io::Result<Signals> {
        let mut watched = SigSet::empty();
        for signal in signals {
            watched.add(Signal::try_from(signal)?);
        }
        let before = watched.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let fd = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .inspect_err(|_| before.thread_set_mask().unwrap_or_default())?;
        Ok(Signals { fd, before })
    }

    /// The next signal that arrived, by number.
    pub(crate) fn next(&self) -> io::Result<Option<i32>> {
        Ok(self.fd.read_signal()?.map(|info| info.ssi_signo.cast_signed()))
    }

    /// Gives the thread the mask back that it had.
    pub(crate) fn restore(self) -> io::Result<()> {
        Ok(self.before.thread_set_mask()?)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Where the worker's handlers write; -1 before there are any. The descriptor stays open for the process's life.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Each of `signals`, by number, adds 1 to the returned eventfd from now on. Once in a process.
///
/// Handlers and not a blocked mask, which a program that this one starts might inherit.
pub(crate) fn wake_on(signals: &[i32]) -> io::Result<OwnedFd> {
    use rustix::event::{EventfdFlags, eventfd};
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    // A second descriptor that nobody can close: the handler must never write to a number that was reused.
    let for_handler = fd.try_clone()?;
    WAKE.store(for_handler.as_raw_fd(), Ordering::Relaxed);
    std::mem::forget(for_handler);
    for signal in signals {
        handle(Signal::try_from(*signal)?, SigHandler::Handler(wake))?;
    }
    Ok(fd)
}

/// Lets SIGINT and SIGHUP pass without effect: Ctrl-C, and a terminal that closes, reach the primary too, which decides
/// for all.
///
/// A handler and not SIG_IGN, which would stay in force in every program that this one starts; and should, where nohup
/// has set it.
pub(crate) fn ignore_terminal() -> io::Result<()> {
    handle(Signal::SIGINT, SigHandler::Handler(ignore))?;
    let before = handle(Signal::SIGHUP, SigHandler::Handler(ignore))?;
    if matches!(before.handler(), SigHandler::SigIgn) {
        handle(Signal::SIGHUP, SigHandler::SigIgn)?;
    }
    Ok(())
}

/// Lets the end of a child be waited for, also where whoever started this program had it ignored.
pub(crate) fn expect_children() -> io::Result<()> {
    handle(Signal::SIGCHLD, SigHandler::SigDfl).map(drop)
}

/// Yields what was there before.
fn handle(signal: Signal, handler: SigHandler) -> io::Result<SigAction> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handlers above do nothing that is not allowed in one: at most a write to an open descriptor.
    #[allow(unsafe_code)]
    let before = unsafe { sigaction(signal, &action) }?;
    Ok(before)
}

extern "C" fn wake(_: i32) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: write(2) is async-signal-safe, the buffer lives on this stack, and the descriptor is never closed.
    // Its result can't be acted upon here; a full counter has been written to before and will wake all the same.
    // errno belongs to the code that was interrupted.
    #[allow(unsafe_code)]
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(WAKE.load(Ordering::Relaxed), one.as_ptr().cast(), one.len());
        *libc::__errno_location() = errno;
    }
}

extern "C" fn ignore(_: i32) {}
