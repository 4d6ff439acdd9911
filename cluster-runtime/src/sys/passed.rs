//! Descriptors that one image of this process leaves open for the next, which knows of them by their numbers.
//!
//! A number owns nothing. So all numbers of a state are looked at together, before any is taken: each is open, each was left
//! open on purpose, and none is there twice. From then on each is taken once, since an [`Fd`] can't be copied.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::FdFlags;
use serde::{Deserialize, Serialize};

/// The number of a descriptor that somebody else owns, or, after an exec, nobody yet.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Fd(RawFd);

impl Fd {
    /// Of what its owner keeps until the exec.
    pub(crate) fn of(fd: &impl AsFd) -> Fd {
        Fd(fd.as_fd().as_raw_fd())
    }

    /// Of what was left open under this number.
    pub(crate) fn numbered(number: RawFd) -> Fd {
        Fd(number)
    }

    pub(crate) fn number(&self) -> RawFd {
        self.0
    }

    /// Looks at it, as at something that may be closed or anything else.
    pub(crate) fn with<T>(&self, look: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        // SAFETY: for the time of this call only, and for being asked about. That it is closed is an error of whatever is
        // asked, and no harm.
        #[allow(unsafe_code)]
        look(unsafe { BorrowedFd::borrow_raw(self.0) })
    }

    /// Its owner from now on, and CLOEXEC.
    pub(crate) fn take(self, _: &Claims) -> OwnedFd {
        // SAFETY: open, left open for this image, and named once in the state that was claimed: nobody else has it for its own.
        #[allow(unsafe_code)]
        let fd = unsafe { OwnedFd::from_raw_fd(self.0) };
        if let Err(error) = rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC) {
            crate::report::error(format_args!("descriptor {} stays open in children: {error}", self.0));
        }
        fd
    }

    /// Of one that is not to be passed on.
    pub(crate) fn close_on_exec(&self) -> io::Result<()> {
        self.keep_open(false)
    }

    /// Has it stay open over an exec, or not.
    pub(super) fn keep_open(&self, open: bool) -> io::Result<()> {
        let flags = if open { FdFlags::empty() } else { FdFlags::CLOEXEC };
        Ok(self.with(|fd| rustix::io::fcntl_setfd(fd, flags))?)
    }
}

/// All descriptors of a state were looked at, and may be taken.
#[derive(Debug)]
pub(crate) struct Claims(());

impl Claims {
    /// `all` that the state names, which is trusted to have been written by this very process, and checked all the same.
    pub(crate) fn of<'a>(all: impl IntoIterator<Item = &'a Fd>) -> io::Result<Claims> {
        let bad = |what: &str, number: RawFd| {
            io::Error::new(io::ErrorKind::InvalidData, format!("descriptor {number} of the state {what}"))
        };
        let mut seen = BTreeSet::new();
        for fd in all {
            let flags = fd.with(|fd| rustix::io::fcntl_getfd(fd));
            match flags {
                _ if fd.0 <= 2 => return Err(bad("is a standard one", fd.0)),
                _ if !seen.insert(fd.0) => return Err(bad("is there twice", fd.0)),
                Err(_) => return Err(bad("is not open", fd.0)),
                Ok(flags) if flags.contains(FdFlags::CLOEXEC) => {
                    return Err(bad("was opened by this image", fd.0));
                }
                Ok(_) => {}
            }
        }
        Ok(Claims(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_and_only_if_it_was_left_open() {
        let (a, b) = super::super::scm::stream_pair().unwrap();
        let told = |fds: &[&Fd]| Claims::of(fds.iter().copied()).unwrap_err().to_string();
        assert!(told(&[&Fd::of(&a)]).contains("opened by this image"));
        Fd::of(&a).keep_open(true).unwrap();
        Fd::of(&b).keep_open(true).unwrap();
        assert!(told(&[&Fd::of(&a), &Fd::of(&b), &Fd::of(&a)]).contains("twice"));
        assert!(told(&[&Fd(2)]).contains("standard"));
        assert!(told(&[&Fd(i32::MAX)]).contains("not open"));
        let (a, b) = (Fd(std::os::fd::IntoRawFd::into_raw_fd(a)), Fd(std::os::fd::IntoRawFd::into_raw_fd(b)));
        let claims = Claims::of([&a, &b]).unwrap();
        for fd in [a.take(&claims), b.take(&claims)] {
            assert!(rustix::io::fcntl_getfd(&fd).unwrap().contains(FdFlags::CLOEXEC));
        }
    }
}
