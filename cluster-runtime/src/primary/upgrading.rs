//! One image in the place of another: what is kept for it, and the exec.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::check::Check;
use super::saved::file::{self, Header};
use super::saved::{State, VERSION};
use super::source::Source;
use super::step::Input;
use super::{Loop, Turn, ask};
use crate::report;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::passed::Fd;
use crate::sys::pidfd::Child;
use crate::sys::way_back::WayBack;
use crate::sys::{exec, memfd, program};
use crate::upgrade::UpgradeFailure;

/// What is kept of upgrades, in this image.
#[derive(Debug)]
pub(super) struct Upgrading {
    /// Which file is run.
    path: PathBuf,
    pub(super) check: Option<Check>,
    /// Who was asked, and is to be reaped and not heard any more, and nurseries that the image before has left. Another may be
    /// asked before that: by `on_upgrade`, say, which is told that the one before took too long in the very turn in which it is killed.
    pub(super) abandoned: Vec<Child>,
    /// The service manager was told that one begins, by this image or by the one before.
    pub(super) told: bool,
    /// It has been found fit.
    pub(super) program: Option<OwnedFd>,
    /// Until this one has proved itself.
    before: Option<Before>,
}

/// The image before this one, and the version of the state that it reads.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) image: OwnedFd,
    pub(super) version: u32,
}

/// A state, where the next image finds it.
pub(super) struct Written {
    state: State,
    pub(super) memory: OwnedFd,
    /// What runs here, for the next image to go back to.
    _image: OwnedFd,
    /// Of both.
    own: [Fd; 2],
}

impl Written {
    /// All that stays open for the next image.
    fn left(&self) -> Vec<&Fd> {
        self.state.parts.fds().chain(&self.own).collect()
    }
}

impl Upgrading {
    pub(super) fn new(path: PathBuf, before: Option<Before>) -> Upgrading {
        Upgrading { path, check: None, abandoned: Vec::new(), told: false, program: None, before }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Ends a process that another image has left. It is reaped when it can be.
    pub(super) fn end_of(&mut self, child: Child, epoll: &Epoll) -> io::Result<()> {
        child.signal(libc::SIGKILL)?;
        if let Err(error) = epoll.add(&child, Source::Check.name(), Interest::End) {
            return child.end_now().and(Err(error));
        }
        self.abandoned.push(child);
        Ok(())
    }

    /// Nothing of it is needed any more.
    pub(super) fn end(&mut self) {
        self.program = None;
        self.before = None;
        self.abandoned.extend(self.check.take().map(Check::abandon));
    }
}

impl Loop {
    /// What an exec would cut off is brought to its end: no question waits for its answer, and no worker for another's fate.
    pub(super) fn fall_silent(&mut self) -> Turn {
        ask::close_all();
        self.release_all_held_now()?;
        self.obey()
    }

    /// The program that was found fit, in the place of this one. Returns if it can't be.
    pub(super) fn execute(&mut self) -> Turn {
        let program = self.upgrading.program.take();
        let program = program.ok_or_else(|| "there is none that was asked".to_owned());
        let why = match program {
            Ok(program) => {
                let path = self.upgrading.path().display();
                report::info(format_args!("upgrade: executing {path}"));
                self.tell_reload_begins();
                self.upgrading.told = true;
                self.replace_by(&program, false, None)
            }
            Err(why) => why,
        };
        self.step(Input::NotExeced(why))
    }

    /// The image before this one, in its place. Returns if it can't be.
    pub(super) fn go_back(&mut self, why: &UpgradeFailure) -> Turn {
        report::error(format_args!("upgrade: {why}; going back to the program before"));
        let why = self.replace_by_the_one_before(None);
        report::error(format_args!("upgrade: {why}; this program goes on"));
        self.step(Input::NotExeced(why))
    }

    /// The same, where this image could not take over. Yields why it can't be.
    pub(super) fn replace_by_the_one_before(&mut self, refused: Option<String>) -> String {
        match self.upgrading.before.take() {
            None => "there is no program to go back to".to_owned(),
            Some(before) => {
                let why = self.replace_by(&before.image, true, refused);
                self.upgrading.before = Some(before);
                why
            }
        }
    }

    /// For the user's code, which may never come back: then the image before this one takes its place, as long as this is kept.
    pub(super) fn keep_way_back(&self) -> Option<(WayBack, Written)> {
        let before = self.upgrading.before.as_ref()?;
        let within = self.settings.startup_timeout;
        let why = format!("its code for the primary exited, aborted or took longer than {within:?}");
        let kept = self.write_state(true, Some(why), Instant::now()).and_then(|written| {
            let way_back = WayBack::open(&before.image, &written.left(), within);
            Ok((way_back.map_err(|error| error.to_string())?, written))
        });
        kept.inspect_err(|why| report::warn(format_args!("upgrade: no way back from code that hangs: {why}")))
            .ok()
    }

    fn replace_by(&mut self, program: &OwnedFd, returned: bool, refused: Option<String>) -> String {
        let written = match self.write_state(returned, refused, Instant::now()) {
            Ok(written) => written,
            Err(why) => return why,
        };
        // Nobody will print it for us.
        let _ = io::stdout().flush();
        let Err(error) = exec::replace(program, &written.left());
        error.to_string()
    }

    /// All that the next image needs to know, as it is now.
    pub(super) fn write_state(
        &self,
        returned: bool,
        refused: Option<String>,
        now: Instant,
    ) -> Result<Written, String> {
        let told = |error: io::Error| format!("writing the state: {error}");
        let image = program::running().map_err(told)?;
        let parts = self.save_parts(now).map_err(told)?;
        let before = self.upgrading.before.as_ref().filter(|_| returned);
        let version = before.map_or(VERSION, |before| before.version);
        let state = State { fleet: self.fleet.save(now), parts, refused }.of_version(version);
        let header = Header { version, returned, pid: std::process::id(), image: image.as_raw_fd() };
        let file = file::write(&header, &state.encode()?);
        let memory = memfd::sealed(NAME, &file, state.parts.fds()).map_err(told)?;
        let own = [Fd::of(&memory), Fd::of(&image)];
        Ok(Written { state, memory, _image: image, own })
    }
}

/// What the state is called in `/proc/PID/fd`.
pub(super) const NAME: &str = "cluster-state";
