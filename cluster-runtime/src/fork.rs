//! What a worker is given at its birth that the primary does not have itself.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::sys::process;

/// The environment, the working directory and the arguments of a worker, as far as they are to differ from the primary's:
/// for [`fork_with`](crate::fork_with). Whoever takes the place of such a worker is given the same. Node: `env` of
/// `cluster.fork(env)`, and `setupPrimary`.
///
/// ```
/// let fork = cluster::Fork::new().env("ROLE", "mailer").env_remove("TOKEN").cwd("/var/spool");
/// ```
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[must_use = "it is for cluster::fork_with"]
pub struct Fork {
    /// In the order given: the last word on a variable counts. `None` removes it.
    env: Vec<(OsString, Option<OsString>)>,
    cwd: Option<PathBuf>,
    args: Option<Vec<OsString>>,
}

impl Fork {
    /// As [`fork`](crate::fork) has it: what the builder said for all.
    pub fn new() -> Fork {
        Fork::default()
    }

    /// Sets a variable of its environment. A name that is empty or has a `=` in it, and a NUL in either, is refused when it
    /// is used.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Fork {
        self.env.push((name.into(), Some(value.into())));
        self
    }

    /// Removes a variable from its environment.
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Fork {
        self.env.push((name.into(), None));
        self
    }

    /// Has it work in this directory; a relative one is taken from the primary's.
    pub fn cwd(mut self, directory: impl Into<PathBuf>) -> Fork {
        self.cwd = Some(directory.into());
        self
    }

    /// Gives it these arguments in place of the primary's, after the program's name. No shell ever sees them. Only a fresh
    /// image can have others than the primary, so such a worker is started by exec, whatever
    /// [`spawn`](crate::Cluster::spawn) says.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Fork {
        self.args = Some(args.into_iter().map(Into::into).collect());
        self
    }

    /// This, and over it what was said of one worker alone.
    pub(crate) fn with(&self, own: Option<&Fork>) -> Fork {
        let mut all = self.clone();
        if let Some(own) = own {
            all.env.extend(own.env.iter().cloned());
            all.cwd = own.cwd.clone().or(all.cwd);
            all.args = own.args.clone().or(all.args);
        }
        all
    }

    /// Whether it can be.
    pub(crate) fn check(&self) -> io::Result<()> {
        let refused = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        let has = |text: &OsStr, byte: u8| text.as_bytes().contains(&byte);
        for (name, value) in &self.env {
            if name.is_empty() || has(name, b'=') || has(name, 0) {
                return refused(format!(
                    "a variable of the environment can't be named {name:?}: a name is not empty and has no `=` and no NUL"
                ));
            }
            if value.as_ref().is_some_and(|value| has(value, 0)) {
                return refused(format!(
                    "the value of the variable {name:?} has a NUL in it, which none can have"
                ));
            }
        }
        if let Some(arg) = self.args.iter().flatten().find(|arg| has(arg, 0)) {
            return refused(format!("the argument {arg:?} has a NUL in it, which none can have"));
        }
        let Some(cwd) = &self.cwd else { return Ok(()) };
        let told = |error: io::Error| io::Error::new(error.kind(), format!("the directory {cwd:?}: {error}"));
        match std::fs::metadata(cwd).map_err(told)?.is_dir() {
            true => Ok(()),
            false => Err(told(io::ErrorKind::NotADirectory.into())),
        }
    }

    pub(crate) fn needs_exec(&self) -> bool {
        self.args.is_some()
    }

    /// Gives all of it to a fresh image.
    pub(crate) fn hand_to(&self, command: &mut Command) {
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
    }

    /// The arguments that it is to have, where they are not the primary's.
    pub(crate) fn own_args(&self) -> Option<&[OsString]> {
        self.args.as_deref()
    }

    /// In a worker that has just been forked.
    pub(crate) fn take_on(&self) -> io::Result<()> {
        for (name, value) in &self.env {
            process::set_variable(name, value.as_deref());
        }
        let Some(cwd) = &self.cwd else { return Ok(()) };
        std::env::set_current_dir(cwd)
            .map_err(|error| io::Error::new(error.kind(), format!("the directory {cwd:?}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r29_what_can_not_be_is_refused() {
        for (fork, told) in [
            (Fork::new().env("", "x"), "can't be named"),
            (Fork::new().env("A=B", "x"), "can't be named"),
            (Fork::new().env_remove("A\0"), "can't be named"),
            (Fork::new().env("A", "x\0"), "the variable \"A\""),
            (Fork::new().args(["fine", "not\0fine"]), "the argument \"not\\0fine\""),
            (Fork::new().cwd("/nowhere/at all"), "the directory \"/nowhere/at all\": No such file"),
            (Fork::new().cwd("/dev/null"), "the directory \"/dev/null\""),
            (Fork::new().cwd("/\0"), "the directory"),
        ] {
            let error = fork.check().unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        assert!(Fork::new().env("A", "").env_remove("B").cwd("/").args(["$A", "*"]).check().is_ok());
    }

    #[test]
    fn n60_what_one_worker_says_is_over_what_all_say_and_the_rest_stays() {
        let all = Fork::new().env("A", "1").env("B", "1").cwd("/").args(["x"]);
        assert_eq!(all.with(None), all);
        assert_eq!(all.with(Some(&Fork::new())), all);
        let own = all.with(Some(&Fork::new().env_remove("A").cwd("/dev").args([] as [&str; 0])));
        assert_eq!(
            own,
            Fork::new().env("A", "1").env("B", "1").env_remove("A").cwd("/dev").args([] as [&str; 0])
        );
        assert!(own.needs_exec() && !Fork::new().needs_exec());
    }
}
