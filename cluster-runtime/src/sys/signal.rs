//! Signals: events in the primary, a wake-up in a worker.
//!
//! The primary blocks those it lives by and reads them from a descriptor, so that no code of ours ever runs in
//! a signal handler there, but on the [way back](super::way_back) to another image. A worker gets its mask back at birth
//! and has two handlers that only write to a descriptor: user code in it may install its own, and a child that it
//! starts inherits no blocked signal.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals read as events, as long as this lives.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
    watched: SigSet,
    before: SigSet,
    /// What would have been done about them, where [`pass_on`] is done instead.
    actions: Vec<(Signal, SigAction)>,
}

impl Signals {
    /// Blocks `signals` (by number) in this thread and opens the descriptor that reports them.
    pub(crate) fn watch(signals: impl IntoIterator<Item = i32>) -> io::Result<Signals> {
        let mut watched = SigSet::empty();
        for signal in signals {
            watched.add(Signal::try_from(signal)?);
        }
        let before = watched.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let mut signals =
            Signals::report(watched, before).inspect_err(|_| before.thread_set_mask().unwrap_or_default())?;
        signals.mind_threads()?;
        Ok(signals)
    }

    /// As [`watch`](Signals::watch), after an exec that left everything blocked; it stays so until [`also`](Signals::also).
    /// `before` is the mask of the first image. It stays so also where this fails: a signal that waits would end this process, and
    /// with it the way back to the image before.
    pub(crate) fn watch_again(signals: impl IntoIterator<Item = i32>, before: &[i32]) -> io::Result<Signals> {
        let mut watched = SigSet::empty();
        for signal in signals {
            watched.add(Signal::try_from(signal)?);
        }
        Signals::report(watched, by_numbers(before))
    }

    /// Reports these too from now on, and lets all others through that the program was not started with.
    pub(crate) fn also(&mut self, signals: impl IntoIterator<Item = i32>) -> io::Result<()> {
        for signal in signals {
            self.watched.add(Signal::try_from(signal)?);
        }
        self.fd.set_mask(&self.watched)?;
        self.mind_threads()?;
        Ok((self.watched | self.before).thread_set_mask()?)
    }

    fn report(watched: SigSet, before: SigSet) -> io::Result<Signals> {
        let fd = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Signals { fd, watched, before, actions: Vec::new() })
    }

    /// A thread that was there before does not block them, and the kernel may choose it for any of them.
    fn mind_threads(&mut self) -> io::Result<()> {
        if super::process::threads()? > 1 {
            READER.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
            for signal in &self.watched {
                self.actions.push((signal, handle(signal, SigHandler::Handler(pass_on))?));
            }
        }
        Ok(())
    }

    /// Does again what was done about them before, though this thread still blocks them.
    pub(crate) fn unhandle(&mut self) -> io::Result<()> {
        for (signal, action) in self.actions.drain(..) {
            // SAFETY: this action was in force before, so its handler, if it has one, is fit for it.
            #[allow(unsafe_code)]
            unsafe { sigaction(signal, &action) }?;
        }
        Ok(())
    }

    /// The next signal that arrived, by number.
    pub(crate) fn next(&self) -> io::Result<Option<i32>> {
        while let Some(info) = self.fd.read_signal()? {
            let number = info.ssi_signo.cast_signed();
            // A terminal sends these to a whole group of which one uses it from the background: nobody has asked for anything.
            let of_the_terminal =
                info.ssi_code == libc::SI_KERNEL && matches!(number, libc::SIGTTIN | libc::SIGTTOU);
            if !of_the_terminal {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// The mask that the thread had.
    pub(crate) fn before(&self) -> SigSet {
        self.before
    }

    /// The same, by numbers: those without a name too.
    pub(crate) fn before_by_number(&self) -> Vec<i32> {
        // SAFETY: the set is a whole one, and the numbers are those of signals.
        #[allow(unsafe_code)]
        let is_in = |number: &i32| unsafe { libc::sigismember(self.before.as_ref(), *number) } == 1;
        (1..=64).filter(is_in).collect()
    }

    /// Gives the thread the mask back that it had.
    pub(crate) fn restore(mut self) -> io::Result<()> {
        self.unhandle()?;
        Ok(self.before.thread_set_mask()?)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The thread that reads the signals, where there are others.
static READER: AtomicI32 = AtomicI32::new(0);

extern "C" fn pass_on(signal: i32) {
    // SAFETY: system calls only. The thread that reads blocks the signal, so that it never runs this itself; errno belongs
    // to the code that was interrupted.
    #[allow(unsafe_code)]
    unsafe {
        let errno = *libc::__errno_location();
        libc::syscall(libc::SYS_tgkill, libc::getpid(), READER.load(Ordering::Relaxed), signal);
        *libc::__errno_location() = errno;
    }
}

fn by_numbers(numbers: &[i32]) -> SigSet {
    let mut set = *SigSet::empty().as_ref();
    for number in numbers {
        // SAFETY: the set is a whole one; a number that is none of a signal is refused and changes nothing.
        #[allow(unsafe_code)]
        unsafe {
            libc::sigaddset(&raw mut set, *number)
        };
    }
    // SAFETY: it was begun by `SigSet::empty`.
    #[allow(unsafe_code)]
    unsafe {
        SigSet::from_sigset_t_unchecked(set)
    }
}

/// The signals that a worker has handlers for. One that is told to go before it has them must not die of it.
fn of_a_worker() -> SigSet {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGHUP);
    signals.add(Signal::SIGUSR1);
    signals
}

/// Keeps them, and what this program was started with blocked, and nothing else, from this thread until [`release`]:
/// before an exec, which no handler survives, and every blocked signal does.
pub(crate) fn hold(before: &SigSet) -> io::Result<()> {
    Ok((*before | of_a_worker()).thread_set_mask()?)
}

/// Blocks all of them in this thread. Yields the mask that it had.
pub(super) fn block_all() -> io::Result<SigSet> {
    Ok(SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?)
}

/// In the new image, once it has handlers.
pub(crate) fn release() -> io::Result<()> {
    Ok(of_a_worker().thread_unblock()?)
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

/// Lets SIGINT, SIGHUP and SIGUSR1 pass without effect: Ctrl-C, a terminal that closes, and `pkill` by the program's name
/// reach the primary too, which decides for all.
///
/// A handler and not SIG_IGN, which would stay in force in every program that this one starts; and should, where nohup
/// has set it.
pub(crate) fn ignore_terminal() -> io::Result<()> {
    handle(Signal::SIGINT, SigHandler::Handler(ignore))?;
    for signal in [Signal::SIGHUP, Signal::SIGUSR1] {
        let before = handle(signal, SigHandler::Handler(ignore))?;
        if matches!(before.handler(), SigHandler::SigIgn) {
            handle(signal, SigHandler::SigIgn)?;
        }
    }
    Ok(())
}

/// Lets the end of a child be waited for, also where whoever started this program had it ignored.
pub(crate) fn expect_children() -> io::Result<()> {
    handle(Signal::SIGCHLD, SigHandler::SigDfl).map(drop)
}

/// Yields what was done before.
fn handle(signal: Signal, handler: SigHandler) -> io::Result<SigAction> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handlers above do nothing that is not allowed in one: at most a write to an open descriptor.
    #[allow(unsafe_code)]
    Ok(unsafe { sigaction(signal, &action) }?)
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
