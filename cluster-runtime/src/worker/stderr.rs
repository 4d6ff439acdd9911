//! A worker's standard error, where it was the primary's to read until now.
//!
//! A worker that is to replace another prints through a pipe until it is ready, so that its last words are known if it never
//! is. Then it is given the primary's own standard error. What is still in the pipe goes there first: meanwhile nobody
//! else here prints by Rust's standard error. Only what goes past that, a library's in C, may at this instant come before
//! what the same thread wrote a moment earlier.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::link::Link;
use super::wait::wait;
use crate::ipc::message::ToPrimary;
use crate::report;

/// How long is waited for whoever holds Rust's standard error, and how long between two looks into the pipe: he may wait for room in it.
const LET_GO_WITHIN: Duration = Duration::from_secs(1);
const LOOK_AFTER: Duration = Duration::from_millis(1);

/// Prints to `own` from now on, if what it prints to is `pipe`, by its inode: else the program has put something of its own there.
/// The primary is told when it is done, however that went; it reads the pipe on, for whoever else has it.
///
/// In a thread of its own: `own` may take as long to write to as it likes, and the link has to hear.
pub(super) fn take_over(pipe: u64, own: Option<OwnedFd>, link: &'static Link) {
    let taking = std::thread::Builder::new().name("cluster-stderr".into()).spawn(move || {
        // Where the limit of open files has kept it from arriving, all stays as it is.
        if let Some(error) = own.and_then(|own| switch(pipe, own).err()) {
            report::error(format_args!("taking over the primary's standard error: {error}"));
        }
        link.tell(&ToPrimary::Stderr, None);
    });
    if let Err(error) = taking {
        report::warn(format_args!("this worker prints by way of the primary on: {error}"));
        link.tell(&ToPrimary::Stderr, None);
    }
}

fn switch(pipe: u64, own: OwnedFd) -> io::Result<()> {
    let mut old = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    if old.metadata()?.ino() != pipe {
        return Ok(());
    }
    let own = File::from(own);
    let (held, is_held) = hold();
    let until = Instant::now() + LET_GO_WITHIN;
    while is_held.recv_timeout(LOOK_AFTER) == Err(RecvTimeoutError::Timeout) && Instant::now() < until {
        pass_on(&mut old, &own)?;
    }
    // Once more before, so that as little as can be goes past what is in the pipe.
    pass_on(&mut old, &own)?;
    rustix::stdio::dup2_stderr(&own)?;
    let passed = pass_on(&mut old, &own);
    drop(held);
    passed
}

/// Keeps all others from printing, from the time that the second says until the first is dropped. By another thread, since it can't be waited for
/// with a deadline.
fn hold() -> (mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (held, until) = mpsc::channel::<()>();
    let (tell, is_held) = mpsc::channel();
    // Where there can be no such thread, nobody is kept, and `is_held` says at once that there is nobody to wait for.
    let _ = std::thread::Builder::new().name("cluster-stderr".into()).spawn(move || {
        let _held = io::stderr().lock();
        // Nobody listens any more, or will not for long: neither is an error.
        let _ = tell.send(());
        let _ = until.recv();
    });
    (held, is_held)
}

/// What is in the pipe now. It can be read from there, too, since whoever has it has both its ends.
fn pass_on(pipe: &mut File, own: &File) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(rustix::io::ioctl_fionread(&*pipe)?).unwrap_or(0)];
    pipe.read_exact(&mut bytes)?;
    let mut left = &bytes[..];
    while !left.is_empty() {
        match (&*own).write(left) {
            Ok(written) => left = &left[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Whoever shares it has told it not to block.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(&mut [PollFd::new(own, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
