//! A fresh image of this very program, as a child; in such a child, what was left open for it; and another image in the place
//! of this one.
//!
//! The image is `/proc/self/exe`, looked up by the child: not the file of that name but the very inode that this
//! process runs, also when it was replaced or deleted since. Nothing but system calls is done between fork and exec, so
//! this is sound beside other threads, where [`fork`](super::fork) is not.

use std::convert::Infallible;
use std::ffi::{CString, OsString, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::FdFlags;
use rustix::net::{AddressFamily, RecvFlags, SocketType, recv, sockopt};

use super::credentials::Credentials;
use super::passed::Fd;
use super::process;
use super::signal::{self, Signals};

/// This program with `args`, or this process's own, and with its environment but for what a service manager said to it alone.
pub(crate) fn this_program(args: Option<&[OsString]>) -> Command {
    let mut command = Command::new("/proc/self/exe");
    let mut own = std::env::args_os();
    command.arg0(own.next().unwrap_or_else(|| OsString::from("/proc/self/exe")));
    match args {
        Some(args) => command.args(args),
        None => command.args(own),
    };
    for name in process::OF_THE_SERVICE_MANAGER {
        command.env_remove(name);
    }
    command
}

/// Starts it; the child is ours. `left` stays open in it under its number, and is all that does but the standard ones; the
/// signals that [`signal::hold`] names are blocked, and of the others those of `mask`. With `credentials`, it is that user's from its first instruction on.
pub(crate) fn spawn(
    mut command: Command,
    left: BorrowedFd<'_>,
    credentials: Option<Credentials>,
    signals: &Signals,
) -> io::Result<u32> {
    let number = left.as_raw_fd();
    let before = signals.before();
    let prepare = move || {
        // SAFETY: `left` is borrowed for longer than `spawn` takes, and the child has a copy of each descriptor.
        #[allow(unsafe_code)]
        let left = unsafe { BorrowedFd::borrow_raw(number) };
        rustix::io::fcntl_setfd(left, FdFlags::empty())?;
        credentials.as_ref().map_or(Ok(()), Credentials::take_on)?;
        signal::hold(&before)
    };
    // SAFETY: system calls only; nothing is allocated, and no lock is taken.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(prepare);
    }
    Ok(command.spawn()?.id())
}

/// Starts the program behind a descriptor, with this process's arguments and environment and the mask that it had at its start;
/// `left` stays open in it. What it prints goes nowhere, but for its errors. It is killed when this process dies.
///
/// Executed as by [`replace`]: std's way would hand a file that is no program to a shell.
pub(crate) fn try_out(program: &OwnedFd, left: BorrowedFd<'_>, signals: &Signals) -> io::Result<u32> {
    let (argv, program, left) = (Argv::own()?, program.try_clone()?, Fd::of(&left));
    let before = signals.before();
    let execute = move || {
        left.keep_open(true)?;
        signal::hold(&before)?;
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        Err(argv.execute(program.as_fd()))
    };
    // Its own exec is never reached.
    let mut command = Command::new("/proc/self/exe");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: system calls only; nothing is allocated, and no lock is taken.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(execute);
    }
    Ok(command.spawn()?.id())
}

/// A stream socket with which this process was started.
pub(crate) struct Inherited<'a> {
    socket: BorrowedFd<'a>,
    /// The process that made it, as far as it can be seen from here.
    pub(crate) maker: u32,
}

impl Inherited<'_> {
    /// What would be read next; it is read nevertheless by whoever reads.
    pub(crate) fn peek<'b>(&self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let (bytes, _) = recv(self.socket, &mut *buffer, flags)?;
        Ok(&buffer[..bytes])
    }

    /// Whether nobody is on the other side any more.
    pub(crate) fn is_hung_up(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::empty())];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        Ok(fds[0].revents().contains(PollFlags::HUP))
    }

    fn of(socket: BorrowedFd<'_>) -> Option<Inherited<'_>> {
        // Nothing that is CLOEXEC comes from before an exec; and what is no socket has no options of one.
        let is_from_before = !rustix::io::fcntl_getfd(socket).ok()?.contains(FdFlags::CLOEXEC);
        let is_stream = sockopt::socket_domain(socket).ok()? == AddressFamily::UNIX
            && sockopt::socket_type(socket).ok()? == SocketType::STREAM;
        let maker = sockopt::socket_peercred(socket).ok()?.pid.as_raw_nonzero().get().cast_unsigned();
        (is_from_before && is_stream).then_some(Inherited { socket, maker })
    }
}

/// Looks at each, and takes the one in which `read` finds what was left there for this process; it is CLOEXEC from then on.
///
/// `read` must pass over all that was not made to be taken here: whoever else used that number would lose it.
pub(crate) fn take<T>(read: impl Fn(&Inherited<'_>) -> Option<T>) -> io::Result<Option<(T, OwnedFd)>> {
    let Some((number, found)) = find(read)? else { return Ok(None) };
    // SAFETY: it is open, was inherited, and was made for this purpose: nobody else in this process has it for its own.
    #[allow(unsafe_code)]
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    Ok(Some((found, socket)))
}

/// What `read` finds, if it finds it; it is left where it is.
pub(crate) fn find<T>(read: impl Fn(&Inherited<'_>) -> Option<T>) -> io::Result<Option<(RawFd, T)>> {
    // That another thread closes one meanwhile is an error of each of these calls, and no harm.
    Ok(left_open()?
        .into_iter()
        .find_map(|fd| fd.with(|socket| Some((fd.number(), read(&Inherited::of(socket)?)?)))))
}

/// All that is open but the standard ones.
pub(crate) fn left_open() -> io::Result<Vec<Fd>> {
    let open = std::fs::read_dir("/proc/self/fd")?;
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|number| *number > 2).map(Fd::numbered).collect())
}

/// Makes this process run `program` from its beginning, with the arguments and the environment that it has; `left` stays open
/// in it, and nothing else that is CLOEXEC. Returns only if it can't be, and then nothing has changed.
///
/// To be called on the main thread: the kernel ends all others, and whoever asked to be told of the end of the thread that made
/// it would be told. Every signal is blocked in the new image until it says otherwise: none is lost, and none ends it before
/// it knows what to do about it. This is not std's `exec`, which has SIGPIPE end the process where it then fails.
pub(crate) fn replace(program: impl AsFd, left: &[&Fd]) -> io::Result<Infallible> {
    on_main_thread()?;
    let argv = Argv::own()?;
    let before = signal::block_all()?;
    let kept = left.iter().try_for_each(|fd| fd.keep_open(true));
    let error = kept.err().unwrap_or_else(|| argv.execute(program.as_fd()));
    before.thread_set_mask()?;
    left.iter().try_for_each(|fd| fd.keep_open(false))?;
    Err(error)
}

/// Where alone this image may be replaced.
pub(super) fn on_main_thread() -> io::Result<()> {
    match rustix::thread::gettid() == rustix::process::getpid() {
        true => Ok(()),
        false => Err(io::Error::other("the cluster was not started on the main thread of this program")),
    }
}

/// This process's arguments, as an exec wants them.
pub(super) struct Argv {
    args: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers lead to the strings beside them, which nobody changes.
#[allow(unsafe_code)]
unsafe impl Send for Argv {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Argv {}

impl Argv {
    pub(super) fn own() -> io::Result<Argv> {
        let args = std::env::args_os().map(|arg| CString::new(arg.into_vec()).map_err(io::Error::other));
        let args: Vec<CString> = args.collect::<io::Result<_>>()?;
        let pointers = args.iter().map(|arg| arg.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Argv { args, pointers })
    }

    /// In the place of this process's image. Returns only if it can't be.
    pub(super) fn execute(&self, program: BorrowedFd<'_>) -> io::Error {
        debug_assert_eq!(self.args.len() + 1, self.pointers.len());
        // SAFETY: both lists end with a null, and nobody changes the environment meanwhile: where the program has other
        // threads, that it does so is unsound in itself.
        #[allow(unsafe_code)]
        unsafe {
            let (program, argv) = (program.as_raw_fd(), self.pointers.as_ptr());
            libc::syscall(libc::SYS_execveat, program, c"".as_ptr(), argv, environ, libc::AT_EMPTY_PATH);
        }
        io::Error::last_os_error()
    }
}

// SAFETY: as POSIX has it. std's own list leaves out what it can't read.
#[allow(unsafe_code)]
unsafe extern "C" {
    static environ: *const *const c_char;
}
