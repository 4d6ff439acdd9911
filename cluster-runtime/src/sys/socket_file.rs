//! Socket files: made where nobody lives, removed only while they are ours.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::socket;
use crate::report;

/// The longest path that an address has room for (`sun_path`, less the 0 at its end).
const LONGEST: usize = 107;

/// A socket file that this process made. Not removed on drop: a child drops its copy of this too.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    ours: Pinned,
}

/// A file that is open without access, so that its inode's number is not given to another as long as we compare it.
#[derive(Debug)]
struct Pinned(File);

impl SocketFile {
    /// Listens on a path. A socket file that nobody answers behind was left by a program that is gone, and is
    /// replaced; a live one, or a file that is no socket, is never touched: EADDRINUSE. No file comes of a name in the
    /// abstract namespace.
    pub(crate) fn listen(
        path: &Path,
        backlog: u32,
        mode: Option<u32>,
    ) -> io::Result<(OwnedFd, Option<SocketFile>)> {
        if path.as_os_str().as_bytes().starts_with(b"\0") {
            if mode.is_some() {
                let message = "a name in the abstract namespace has no file, and no mode";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            let socket = socket::bind_unix(path)?;
            socket::listen(&socket, backlog)?;
            return Ok((socket, None));
        }
        make_way(path)?;
        let socket = bind(path)?;
        let file = SocketFile { path: path.to_owned(), ours: Pinned::of(path)? };
        match file.open(&socket, backlog, mode) {
            Ok(()) => Ok((socket, Some(file))),
            Err(error) => {
                file.remove();
                Err(error)
            }
        }
    }

    /// Nobody can connect before it listens, so the mode is in force for the first who does.
    fn open(&self, socket: &OwnedFd, backlog: u32, mode: Option<u32>) -> io::Result<()> {
        if let Some(mode) = mode {
            std::fs::set_permissions(self.ours.path(), Permissions::from_mode(mode))?;
        }
        socket::listen(socket, backlog)?;
        // Another program that came up at the same moment may have found nobody listening yet, and replaced it.
        match self.ours.is_at(&self.path) {
            true => Ok(()),
            false => Err(in_use()),
        }
    }

    /// One that this process made before an exec.
    pub(crate) fn adopt(path: PathBuf, pinned: OwnedFd) -> SocketFile {
        SocketFile { path, ours: Pinned(pinned.into()) }
    }

    /// What keeps its inode from being another's.
    pub(crate) fn pinned(&self) -> &File {
        &self.ours.0
    }

    /// As it was asked for.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, if it is still ours: another program may have put its own in its place.
    pub(crate) fn remove(self) {
        if let Err(error) = take_away(&self.path, &self.ours, || Ok(true))
            && error.kind() != io::ErrorKind::NotFound
        {
            report::warn(format_args!("removing the socket file {}: {error}", self.path.display()));
        }
    }
}

impl Pinned {
    fn of(path: &Path) -> io::Result<Pinned> {
        OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path).map(Pinned)
    }

    /// Leads to this very file, whatever has become of its name.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    fn is_at(&self, path: &Path) -> bool {
        let there = std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()));
        let ours = self.0.metadata().map(|file| (file.dev(), file.ino()));
        matches!((there, ours), (Ok(there), Ok(ours)) if there == ours)
    }
}

/// Removes a socket file that nobody answers behind.
fn make_way(path: &Path) -> io::Result<()> {
    let found = match Pinned::of(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let is_stale = || Ok(!socket::answers(&found.path())?);
    if !found.0.metadata()?.file_type().is_socket() || !is_stale()? {
        return Err(in_use());
    }
    // Somebody who has bound it may begin to listen only now: so it is asked again when it is out of the way, where
    // nobody finds it any more. If he listens later than that, he finds that it is gone.
    match take_away(path, &found, is_stale) {
        Ok(true) => Ok(()),
        Ok(false) => Err(in_use()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a file if it is this one, and still so, and yields whether. To compare and to remove are two steps, and between
/// them another program may have put its own there: so it is moved aside first, and back if it is not the one.
fn take_away(path: &Path, this: &Pinned, still: impl Fn() -> io::Result<bool>) -> io::Result<bool> {
    if !this.is_at(path) {
        return Ok(false);
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}.old", std::process::id()));
    std::fs::rename(path, &aside)?;
    let is_it = this.is_at(Path::new(&aside)) && still()?;
    if !is_it {
        // Unlike a rename, a link replaces nothing.
        std::fs::hard_link(&aside, path)?;
    }
    std::fs::remove_file(&aside)?;
    Ok(is_it)
}

/// A path that is too long for an address is bound by way of its folder.
fn bind(path: &Path) -> io::Result<OwnedFd> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if path.as_os_str().len() > LONGEST => {
            let folder =
                OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(folder)?;
            let folder = Pinned(folder);
            if folder.path().join(name).as_os_str().len() > LONGEST {
                return Err(too_long(name));
            }
            socket::bind_unix(&folder.path().join(name))
        }
        _ => socket::bind_unix(path),
    }
}

fn in_use() -> io::Error {
    io::Error::from_raw_os_error(libc::EADDRINUSE)
}

fn too_long(name: &OsStr) -> io::Error {
    let name = name.display();
    let message =
        format!("the name {name} is too long for a socket file: about {} bytes are allowed", LONGEST - 25);
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("cluster-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn listen(path: &Path) -> io::Result<(OwnedFd, SocketFile)> {
        SocketFile::listen(path, 1, None).map(|(socket, file)| (socket, file.unwrap()))
    }

    #[test]
    fn a_stale_file_is_replaced_a_live_one_and_a_stranger_are_not() {
        let folder = folder("socket-file");
        let path = folder.join("s");
        let (live, first) = listen(&path).unwrap();
        assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(live);
        let (_live, second) = listen(&path).unwrap();
        first.remove();
        assert!(path.exists(), "it was another's by then");
        second.remove();
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        std::fs::remove_file(&path).unwrap();
        let datagrams = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(datagrams);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "something was left aside");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_comes_to_life_while_it_is_taken_away_is_put_back() {
        let folder = folder("socket-file-race");
        let path = folder.join("s");
        let _socket = socket::bind_unix(&path).unwrap();
        let found = Pinned::of(&path).unwrap();
        assert!(!take_away(&path, &found, || Ok(false)).unwrap());
        assert!(found.is_at(&path));
        // And one that is another's by now is not even moved.
        std::fs::remove_file(&path).unwrap();
        let _other = socket::bind_unix(&path).unwrap();
        assert!(!take_away(&path, &found, || Ok(true)).unwrap());
        assert!(path.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_mode_is_exact_and_a_long_path_works() {
        let folder = folder("socket-file-long").join("x".repeat(120));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("s");
        let (_socket, file) = SocketFile::listen(&path, 1, Some(0o777)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o777);
        file.unwrap().remove();
        assert!(!path.exists());
        let name = "y".repeat(100);
        assert_eq!(listen(&folder.join(name)).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }

    #[test]
    fn an_abstract_name_needs_no_file() {
        let name = format!("\0cluster-{}", std::process::id());
        let (_socket, file) = SocketFile::listen(Path::new(&name), 1, None).unwrap();
        assert!(file.is_none());
        let again = SocketFile::listen(Path::new(&name), 1, None).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    }
}
