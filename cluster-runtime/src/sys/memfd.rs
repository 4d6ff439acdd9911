//! Memory that outlives an exec: written once, sealed, and found again by the next image of this process.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::FdFlags;

use super::exec;
use super::passed::Fd;

/// Nobody can change it any more, nor take the seals away.
const ALL: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Bytes that stay as they are, under a name that shows in `/proc/PID/fd` and means nothing.
///
/// Its number is larger than each of `others`, by which [`find`] knows it. Among those that stay open with it are some that
/// workers have sent, and what is in a memory file, its name and its seals can be anybody's; only the number is ours to give.
pub(crate) fn sealed<'a>(
    name: &str,
    bytes: &[u8],
    others: impl IntoIterator<Item = &'a Fd>,
) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, ALL)?;
    match others.into_iter().map(Fd::number).max() {
        Some(last) if last > file.as_raw_fd() => Ok(rustix::io::fcntl_dupfd_cloexec(&file, last + 1)?),
        _ => Ok(file.into()),
    }
}

/// All of it. An error for what is not sealed: whoever has it too could change it while it is read.
pub(crate) fn read(memory: impl AsFd) -> io::Result<Vec<u8>> {
    if !is_sealed(&memory) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a sealed memory file"));
    }
    let file = File::from(memory.as_fd().try_clone_to_owned()?);
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Among what an image before this one has left open, the memory with whose first bytes `is_it` agrees; of several, that of the
/// largest number: see [`sealed`]. It is left as it is.
pub(crate) fn find(first: usize, is_it: impl Fn(&[u8]) -> bool) -> io::Result<Option<Fd>> {
    let agrees = |fd: &Fd| {
        fd.with(|memory| {
            let from_before =
                rustix::io::fcntl_getfd(memory).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC));
            from_before && is_sealed(memory) && peek(&memory, first).is_ok_and(|bytes| is_it(&bytes))
        })
    };
    Ok(exec::left_open()?.into_iter().filter(agrees).max_by_key(Fd::number))
}

fn is_sealed(memory: impl AsFd) -> bool {
    fcntl_get_seals(memory).is_ok_and(|seals| seals.contains(ALL))
}

/// As many of the first bytes as there are.
fn peek(memory: &impl AsFd, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let read = rustix::io::pread(memory, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_read_and_can_not_be_changed() {
        let memory = sealed("cluster-test", b"the state", []).unwrap();
        assert_eq!(read(&memory).unwrap(), b"the state");
        let file = File::from(memory);
        assert_eq!(file.write_at(b"x", 0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(file.set_len(1).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(rustix::io::fcntl_getfd(&file).unwrap().contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn what_is_not_sealed_or_not_left_open_is_nobodys() {
        let open = File::from(memfd_create("cluster-test", MemfdFlags::CLOEXEC).unwrap());
        assert!(read(&open).is_err());
        assert!(read(File::open("/dev/null").unwrap()).is_err());
        let mark = format!("only in this test, of {}", std::process::id());
        let is_it = |bytes: &[u8]| bytes == mark.as_bytes();
        let memory = sealed("cluster-test", mark.as_bytes(), []).unwrap();
        assert!(find(mark.len(), is_it).unwrap().is_none(), "it is CLOEXEC");
        rustix::io::fcntl_setfd(&memory, FdFlags::empty()).unwrap();
        assert!(find(mark.len(), is_it).unwrap().is_some());
        rustix::io::fcntl_setfd(&memory, FdFlags::CLOEXEC).unwrap();
    }

    /// Mutation: take the first; give the state whatever number comes.
    #[test]
    fn s07_of_two_it_is_the_one_whose_number_was_given_and_not_what_a_worker_has_sent() {
        let mark = format!("a state, or so it says, to {}", std::process::id());
        let is_it = |bytes: &[u8]| bytes == mark.as_bytes();
        let sent = sealed("cluster-test", mark.as_bytes(), []).unwrap();
        let sent = rustix::io::fcntl_dupfd_cloexec(&sent, 200).unwrap();
        let ours = sealed("cluster-test", mark.as_bytes(), [&Fd::of(&sent)]).unwrap();
        for memory in [&sent, &ours] {
            rustix::io::fcntl_setfd(memory, FdFlags::empty()).unwrap();
        }
        let found = find(mark.len(), is_it).unwrap();
        for memory in [&sent, &ours] {
            rustix::io::fcntl_setfd(memory, FdFlags::CLOEXEC).unwrap();
        }
        assert_eq!(found.unwrap(), Fd::of(&ours));
    }
}
