//! Which file this program was started as, so that another may take its place under that name.

use std::fs::{File, OpenOptions, metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::{env, ffi::OsString};

const RUNNING: &str = "/proc/self/exe";

/// The path by which this program was started, if it leads to what runs here; else that of the very file. To be asked once, at
/// the start: later its name may be another's. Links in it are left as they are: `current/program` is what `current` leads to
/// when it is asked for.
pub(crate) fn path() -> io::Result<PathBuf> {
    let started = env::args_os().next().map(PathBuf::from).and_then(absolute);
    match started.filter(|path| is_running(path)) {
        Some(path) => Ok(path),
        None => {
            let file = std::fs::read_link(RUNNING)?.into_os_string().into_vec();
            let name = file.strip_suffix(b" (deleted)").unwrap_or(&file);
            Ok(OsString::from_vec(name.to_vec()).into())
        }
    }
}

/// What is there now, to be run by this descriptor, whatever becomes of the name.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    let file = by_path_only(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file.into()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file")),
    }
}

/// The very file that runs here, also when it was replaced or deleted since.
pub(crate) fn running() -> io::Result<OwnedFd> {
    by_path_only(Path::new(RUNNING)).map(OwnedFd::from)
}

fn by_path_only(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)
}

fn absolute(started: PathBuf) -> Option<PathBuf> {
    if started.as_os_str().as_bytes().contains(&b'/') {
        return env::current_dir().ok().map(|here| here.join(started));
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(&started)).find(|path| is_running(path))
}

fn is_running(path: &Path) -> bool {
    let identity = |path: &Path| metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((identity(path), identity(Path::new(RUNNING))), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_this_program_leads_to_it_and_is_absolute() {
        let path = path().unwrap();
        assert!(path.is_absolute() && is_running(&path), "{path:?}");
        assert!(open(&path).is_ok() && running().is_ok());
    }

    #[test]
    fn a_folder_and_nothing_are_no_programs() {
        assert_eq!(open(Path::new("/")).unwrap_err().to_string(), "not a file");
        assert_eq!(open(Path::new("/nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
