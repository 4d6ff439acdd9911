//! A page that two processes share: one writes it, the other reads.
//!
//! Whoever writes may write anything, at any time: hence words and nothing else, each of them whole. It can't take the page from
//! under the reader, since its size is sealed; and the reader's mapping can't be written to, by the reader neither.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};

/// As much as one processor has for itself while it writes.
pub(crate) type Words = [AtomicU64; 8];

/// A page begins where such a line does.
pub(crate) type Page = [Words; 64];

const BYTES: usize = size_of::<Page>();

const SEALS: SealFlags = SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW);

/// A new page of zeroes: for who writes, and for who reads.
pub(crate) fn make(name: &str) -> io::Result<(OwnedFd, OwnedFd)> {
    let writable = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&writable, BYTES as u64)?;
    fcntl_add_seals(&writable, SEALS)?;
    // Opened anew: what is mapped by it can never be made writable.
    let readable = File::open(format!("/proc/self/fd/{}", writable.as_raw_fd()))?;
    Ok((writable, readable.into()))
}

/// The page as it is read.
#[derive(Debug)]
pub(crate) struct Reader {
    at: NonNull<Page>,
    /// The process that has mapped it.
    process: u32,
}

impl Reader {
    /// It is not mapped in a process that is forked off.
    pub(crate) fn of(memory: impl AsFd) -> io::Result<Reader> {
        let reader = Reader { at: map(memory.as_fd(), libc::PROT_READ)?, process: std::process::id() };
        // SAFETY: of this page, which has just been mapped.
        #[allow(unsafe_code)]
        let advised = unsafe { libc::madvise(reader.at.as_ptr().cast(), BYTES, libc::MADV_DONTFORK) };
        match advised {
            0 => Ok(reader),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(crate) fn page(&self) -> &Page {
        // SAFETY: mapped until `self` is dropped, in the process that has mapped it; one that is forked off drops it, and does not
        // look. It is of a size that can't change, aligned as pages are, and any bytes are words.
        #[allow(unsafe_code)]
        unsafe {
            self.at.as_ref()
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // In a child something else may be there by now.
        if std::process::id() == self.process {
            // SAFETY: mapped by this process, and nobody has a reference to it that outlives `self`.
            #[allow(unsafe_code)]
            unsafe {
                libc::munmap(self.at.as_ptr().cast(), BYTES);
            }
        }
    }
}

/// Maps it for writing, for as long as this process lives.
pub(crate) fn write(memory: impl AsFd) -> io::Result<&'static Page> {
    let at = map(memory.as_fd(), libc::PROT_READ | libc::PROT_WRITE)?;
    // SAFETY: as in `Reader::page`, and never unmapped.
    #[allow(unsafe_code)]
    Ok(unsafe { at.as_ref() })
}

fn map(memory: BorrowedFd<'_>, access: libc::c_int) -> io::Result<NonNull<Page>> {
    let bytes = usize::try_from(fstat(memory)?.st_size).unwrap_or(0);
    if bytes < BYTES || !fcntl_get_seals(memory)?.contains(SEALS) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a sealed page of memory"));
    }
    // SAFETY: a new mapping, wherever the kernel likes.
    #[allow(unsafe_code)]
    let at =
        unsafe { libc::mmap(std::ptr::null_mut(), BYTES, access, libc::MAP_SHARED, memory.as_raw_fd(), 0) };
    match at {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        at => NonNull::new(at.cast()).ok_or_else(|| io::Error::other("the kernel has mapped a page at 0")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn what_one_writes_the_other_reads() {
        let (theirs, ours) = make("cluster-test").unwrap();
        let (page, reader) = (write(&theirs).unwrap(), Reader::of(&ours).unwrap());
        page[63][7].store(5, Ordering::Relaxed);
        assert_eq!(reader.page()[63][7].load(Ordering::Relaxed), 5);
        assert_eq!(reader.page()[0][0].load(Ordering::Relaxed), 0);
        for memory in [theirs, ours] {
            assert!(rustix::io::fcntl_getfd(&memory).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        }
    }

    /// Mutation: leave out a seal, or open nothing anew.
    #[test]
    fn s16_whoever_writes_can_not_take_it_away_and_whoever_reads_can_not_write() {
        let (theirs, ours) = make("cluster-test").unwrap();
        for size in [0, 1, 8192] {
            assert_eq!(ftruncate(&theirs, size).unwrap_err(), rustix::io::Errno::PERM);
        }
        assert_eq!(fcntl_add_seals(&theirs, SealFlags::WRITE).unwrap_err(), rustix::io::Errno::PERM);
        assert_eq!(write(&ours).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let reader = Reader::of(&ours).unwrap();
        // SAFETY: of this page; it is refused.
        #[allow(unsafe_code)]
        let made =
            unsafe { libc::mprotect(reader.at.as_ptr().cast(), BYTES, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!((made, io::Error::last_os_error().kind()), (-1, io::ErrorKind::PermissionDenied));
    }

    #[test]
    fn what_could_shrink_is_not_mapped() {
        let open = memfd_create("cluster-test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&open, BYTES as u64).unwrap();
        assert!(Reader::of(&open).is_err());
        assert!(Reader::of(File::open("/dev/null").unwrap()).is_err());
    }
}
