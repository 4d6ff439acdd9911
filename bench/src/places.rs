//! Where things are: the programs that are measured, and a folder for what they write.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Resource, Rlimit};

/// The folder, with all that is in it, goes with this.
#[derive(Debug)]
pub(crate) struct Places {
    /// This package.
    pub(crate) package: PathBuf,
    /// Where the fixtures were built.
    programs: PathBuf,
    /// For configurations, logs and sockets.
    pub(crate) folder: PathBuf,
    /// How many files each process may have open.
    pub(crate) open_files: u64,
}

impl Places {
    /// # Errors
    ///
    /// No folder could be made.
    pub(crate) fn new() -> io::Result<Places> {
        let program = env::current_exe()?;
        let folder = env::temp_dir().join(format!("cluster-bench-{}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Places {
            package: Path::new(env!("CARGO_MANIFEST_DIR")).to_owned(),
            programs: program.parent().unwrap_or(Path::new(".")).to_owned(),
            folder,
            open_files: raise(),
        })
    }

    /// The workspace.
    pub(crate) fn root(&self) -> &Path {
        self.package.parent().unwrap_or(&self.package)
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Builds the fixtures, as this program was built.
    ///
    /// # Errors
    ///
    /// cargo could not be started, or failed.
    pub(crate) fn build(&self) -> io::Result<()> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.current_dir(self.root()).args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "cluster-bench",
            "--bins",
        ]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let status = cargo.status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("{cargo:?}: {status}"))) }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// As many open files as there may be, for the servers too, which inherit it: root may have more than the limit says.
fn raise() -> u64 {
    let wanted = Rlimit { current: Some(65_536), maximum: Some(65_536) };
    if rustix::process::setrlimit(Resource::Nofile, wanted).is_err() {
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(65_536)
}
