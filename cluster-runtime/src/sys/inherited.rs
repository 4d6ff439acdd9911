//! Descriptors that the program was started with: taken note of before we open any, so that a worker can name these and
//! none of ours.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

/// By number, each with what it led to: a number may be another's later.
type Noted = BTreeMap<RawFd, (u64, u64)>;

/// Nothing while no cluster was started.
static NOTED: Mutex<Option<Noted>> = Mutex::new(None);

/// Takes note of what is open now.
pub(crate) fn note() -> io::Result<()> {
    let mut noted = Noted::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        // The directory that is being read is among them, and of no use to anybody.
        if let Some(number) = number
            && let Ok(what) = what_is(number)
        {
            noted.insert(number, what);
        }
    }
    *NOTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(noted);
    Ok(())
}

/// Whether this one was open then.
pub(crate) fn was_open(number: RawFd) -> bool {
    let noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    noted.as_ref().is_some_and(|noted| noted.contains_key(&number))
}

/// What was noted, for the next image of this process.
pub(crate) fn noted() -> Vec<(RawFd, u64, u64)> {
    let noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    noted.iter().flatten().map(|(number, (device, inode))| (*number, *device, *inode)).collect()
}

/// In the place of [`note`], in an image that takes over: what the first one was started with.
pub(crate) fn note_again(noted: &[(RawFd, u64, u64)]) {
    let noted = noted.iter().map(|(number, device, inode)| (*number, (*device, *inode))).collect();
    *NOTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(noted);
}

/// A duplicate of one of them. EBADF for a number that led to nothing, or to something else.
pub(crate) fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    let not_open = || io::Error::from_raw_os_error(libc::EBADF);
    let what = what_is(number).map_err(|_| not_open())?;
    let noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    if noted.as_ref().is_some_and(|noted| noted.get(&number) != Some(&what)) {
        return Err(not_open());
    }
    // SAFETY: it is open, as we have just seen; it was before anything of ours was, so nobody here owns it and closes it
    // meanwhile.
    #[allow(unsafe_code)]
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(rustix::io::fcntl_dupfd_cloexec(inherited, 3)?)
}

fn what_is(number: RawFd) -> io::Result<(u64, u64)> {
    let file = std::fs::metadata(format!("/proc/self/fd/{number}"))?;
    Ok((file.dev(), file.ino()))
}
