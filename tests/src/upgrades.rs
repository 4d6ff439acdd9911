//! Another program on disk: in a test, the file and what is put there; in the fixture `successor`, what it does.

use std::fs::{self, File, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::{Arc, Barrier};
use std::{env, thread};

use rustix::process::{Signal, getpid, kill_process};

use crate::channel::{channel, frame, write_all};
use crate::plan::{Plan, fixture};

/// In a test: a folder with the program that the cluster was started as, and with the orders for its successor.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// For one test.
    ///
    /// # Panics
    /// When the folder can't be made.
    #[must_use]
    pub fn of(test: &str) -> Self {
        // Beside the fixtures, so that a link to one of them is enough: whatever is copied by this process can't be executed
        // while another thread of it forks.
        let folder = fixture("serve").with_file_name(format!("upgrade-{test}-{}", process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("make a folder for a program");
        Self(folder)
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.0.join("program")
    }

    /// A path for anything else.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// This fixture, as the program.
    #[must_use]
    pub fn plan(&self, name: &str) -> Plan {
        self.put(name);
        Plan::of(name).found_at(&self.program()).env("TEST_HOW", self.path("how").display())
    }

    /// Puts another fixture in its place.
    ///
    /// # Panics
    /// When it can't be.
    pub fn put(&self, name: &str) {
        let new = self.path("new");
        let _ = fs::remove_file(&new);
        fs::hard_link(fixture(name), &new).expect("link a fixture");
        // To rename one name of a file to another of the same is nothing, and leaves both.
        let _ = fs::remove_file(self.program());
        fs::rename(&new, self.program()).expect("put a program in its place");
    }

    /// Puts a copy there, with these permissions.
    ///
    /// # Panics
    /// When it can't be.
    pub fn put_copy(&self, from: &Path, mode: u32) {
        let new = self.path("new");
        let copied = Command::new("cp").arg(from).arg(&new).status().expect("start cp");
        assert!(copied.success(), "copy {}", from.display());
        fs::set_permissions(&new, Permissions::from_mode(mode)).expect("set a mode");
        let _ = fs::remove_file(self.program());
        fs::rename(&new, self.program()).expect("put a program in its place");
    }

    /// Says what `successor` does from now on.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn order(&self, how: &str) {
        fs::write(self.path("how"), how).expect("write an order");
    }

    /// Has `successor` wait as process `pid`, before its cluster starts, until it is [let go](Self::let_go). It says `holding`.
    ///
    /// # Panics
    /// When the pipe can't be made.
    pub fn hold(&self, pid: u32) {
        let pipe = self.path("pipe");
        if !pipe.exists() {
            let made = Command::new("mkfifo").arg(&pipe).status().expect("start mkfifo");
            assert!(made.success(), "make a pipe");
        }
        self.order(&format!("hold {pid} {}", pipe.display()));
    }

    /// Lets it go on. Blocks until it waits.
    ///
    /// # Panics
    /// When the pipe can't be opened.
    pub fn let_go(&self) {
        drop(File::options().write(true).open(self.path("pipe")).expect("open the pipe"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// In `successor`: the order, a word and what belongs to it.
#[must_use]
pub fn how() -> (String, String) {
    let file = env::var("TEST_HOW").unwrap_or_default();
    let how = fs::read_to_string(file).unwrap_or_default();
    let (word, rest) = how.split_once(' ').unwrap_or((&how, ""));
    (word.to_owned(), rest.to_owned())
}

/// What it does before its cluster starts.
///
/// # Panics
/// Also when it is told to.
pub fn begin(word: &str, rest: &str) {
    match word {
        "exit" => process::exit(rest.parse().expect("a status")),
        "panic" => panic!("a bug in the new program"),
        "abort" => process::abort(),
        "hang" => loop {
            thread::park();
        },
        "stutter" => {
            write_all(&channel(), &frame(5, 0, &[b'x'; 10_000])).expect("answer too much");
            process::exit(0)
        }
        "protocol" => {
            // A map of three, as MessagePack has it.
            let fit = b"\x83\xa5build\xa5other\xa8protocol\x63\xa5state\x02";
            write_all(&channel(), &frame(8, 0, fit)).expect("answer");
            process::exit(0)
        }
        "lock" => {
            let program = env::current_exe().expect("the path of this program");
            fs::set_permissions(program, Permissions::from_mode(0o644)).expect("set a mode");
        }
        "hold" => {
            let (pid, pipe) = rest.split_once(' ').expect("a pid and a pipe");
            if pid.parse() == Ok(process::id()) {
                println!("holding");
                drop(File::open(pipe).expect("wait at the pipe"));
            }
        }
        _ => {}
    }
}

/// In its code for the primary.
pub fn never_come_back(word: &str) {
    match word {
        "callback-hangs" => loop {
            thread::park();
        },
        "callback-spins" => loop {
            // With the allocator's lock, half of the time.
            drop(std::hint::black_box(vec![0; 64 * 1024]));
        },
        "callback-exits" => process::exit(3),
        "callback-aborts" => process::abort(),
        "callback-exits-elsewhere" => {
            let other = thread::Builder::new().name("other".to_owned()).spawn(|| process::exit(3));
            drop(other.expect("start a thread").join());
        }
        "callback-aborts-everywhere" => {
            let together = Arc::new(Barrier::new(8));
            let others = [(); 8].map(|()| {
                let together = Arc::clone(&together);
                let abort = move || {
                    together.wait();
                    process::abort()
                };
                thread::Builder::new().name("other".to_owned()).spawn(abort).expect("start a thread")
            });
            others.into_iter().for_each(|other| drop::<thread::Result<()>>(other.join()));
        }
        "callback-is-aborted" => {
            kill_process(getpid(), Signal::ABORT).expect("send a signal");
            loop {
                thread::park();
            }
        }
        _ => {}
    }
}

/// The addresses that it binds at its start.
#[must_use]
pub fn addresses(word: &str, rest: &str) -> Vec<String> {
    let is_address = |address: &&str| address.starts_with("unix:") || address.parse::<SocketAddr>().is_ok();
    let all = if word == "listen" { rest } else { "" };
    all.split(' ').filter(is_address).map(str::to_owned).collect()
}
