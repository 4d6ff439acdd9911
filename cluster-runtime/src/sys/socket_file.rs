//! Socket files: made where nobody lives, removed only while they are ours.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::socket;
use crate::report;

/// A socket file that this process made. Not removed on drop: a child drops its copy of this too.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Open without access, so that its inode's number is not given to another file as long as we compare it.
    pinned: File,
}

impl SocketFile {
    /// Listens on a path. A socket file that nobody answers behind was left by a program that is gone, and is
    /// replaced; a live one, or a file that is no socket, is never touched: EADDRINUSE.
    pub(crate) fn listen(path: &Path, backlog: u32) -> io::Result<(OwnedFd, SocketFile)> {
        match std::fs::symlink_metadata(path) {
            Ok(file) if file.file_type().is_socket() && !socket::answers(path)? => {
                std::fs::remove_file(path)?
            }
            Ok(_) => return Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let socket = socket::listen_unix(path, backlog)?;
        let pinned =
            OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
        Ok((socket, SocketFile { path: path.to_owned(), pinned }))
    }

    /// Removes it, if it is still ours: another program may have put its own in its place.
    pub(crate) fn remove(self) {
        if let Err(error) = self.remove_if_ours()
            && error.kind() != io::ErrorKind::NotFound
        {
            report::warn(format_args!("removing the socket file {}: {error}", self.path.display()));
        }
    }

    fn remove_if_ours(&self) -> io::Result<()> {
        let (there, ours) = (std::fs::symlink_metadata(&self.path)?, self.pinned.metadata()?);
        match (there.dev(), there.ino()) == (ours.dev(), ours.ino()) {
            true => std::fs::remove_file(&self.path),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_replaced_a_live_one_and_a_stranger_are_not() {
        let folder = std::env::temp_dir().join(format!("cluster-socket-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("s");
        let (live, first) = SocketFile::listen(&path, 1).unwrap();
        assert_eq!(SocketFile::listen(&path, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(live);
        let (_live, second) = SocketFile::listen(&path, 1).unwrap();
        first.remove();
        assert!(path.exists(), "it was another's by then");
        second.remove();
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(SocketFile::listen(&path, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
