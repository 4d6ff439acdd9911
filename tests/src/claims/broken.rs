//! Deploys that come to nothing: it is told why, and what served serves on.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::Claim;
use super::site::{Site, WORKERS};
use crate::plan::{by_exec, copy};

/// What came of one of them.
#[derive(Clone, Debug)]
pub struct Told {
    /// What was deployed.
    pub deploy: String,
    /// What the cluster said of it.
    pub told: String,
    /// How many requests were asked meanwhile.
    pub requests: u64,
    /// How many connections were harmed meanwhile.
    pub harmed: usize,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Deploy {
    /// What is wrong with it.
    pub what: &'static str,
    /// How it is made.
    pub make: Make,
    /// A part of what has to be told of it, also in the log.
    pub told: &'static str,
    /// What else is in the log, such as the program's own words.
    pub logged: &'static [&'static str],
}

/// What is in the place of the program.
#[derive(Clone, Copy, Debug)]
pub enum Make {
    /// The fixture `broken`, which fails in this way. `PORT` is one that is in use.
    Broken(&'static str),
    /// A file with this text.
    Text(&'static str),
    /// Another program.
    Program(&'static str),
    /// A good one.
    Good,
    /// Nothing.
    Missing,
    /// A good program that nobody may execute.
    Forbidden,
    /// The beginning of a good program, without the rest.
    Beginning,
}

/// What a panic of the fixture prints.
const PANIC: &[&str] = &["panicked at", "a bug in the new code"];

/// The same of one that wants what others have.
const IN_USE: &[&str] = &["panicked at", "Address already in use"];

/// Those which are found out while nothing has changed: the program is asked before.
pub const UNFIT: [Deploy; 17] = [
    file("no file", Make::Missing, "No such file"),
    file("a file that nobody may execute", Make::Forbidden, "Permission denied"),
    file("a text", Make::Text("a program is something else\n"), "Exec format error"),
    file("a script", Make::Text("#!/bin/sh\nexit 0\n"), "the program on disk can't take over"),
    file("an empty file", Make::Text(""), "Exec format error"),
    file("a copy that broke off", Make::Beginning, "the program on disk can't take over"),
    file("another program: true", Make::Program("/bin/true"), "did not answer"),
    file("another program: cat", Make::Program("/bin/cat"), "did not answer"),
    file("another program: false", Make::Program("/bin/false"), "exited with status 1"),
    broken("exits before it starts", "start exits", "exited with status 1", &[]),
    broken("panics before it starts", "start panics", "exited with status 101", PANIC),
    broken("hangs before it starts", "start hangs", "no answer within", &[]),
    broken("segfaults before it starts", "start segfaults", "was killed by SIGSEGV", &[]),
    broken("speaks another protocol", "start answers", "version 99 of the cluster's protocol", &[]),
    broken("can't read the state", "start refuses", "is of version 9", &[]),
    broken("a user that is not there", "user nobody-here", "nobody-here", &[]),
    broken("an address that is none", "listen nowhere", "nowhere", &[]),
];

/// Those which answer well, and fail when they are in the primary's place: it goes back to the program before.
pub const FALLEN: [Deploy; 9] = [
    broken("listens on a port in use", "listen PORT", "Address already in use", &[]),
    broken("its code for the primary panics", "primary panics", "panicked", PANIC),
    broken("preload panics", "preload panics", "preload failed: the nursery exited with status 101", PANIC),
    broken("preload hangs", "preload hangs", "was not done in time", &[]),
    broken("a worker that exits", "main exits", "exited with status 1", &[]),
    broken("a worker that panics", "main panics", "exited with status 101", PANIC),
    broken("a worker that is never ready", "main hangs", "since its time was over", &[]),
    broken("a worker that segfaults", "main segfaults", "was killed by SIGSEGV", &[]),
    broken("a worker that binds a port in use", "main PORT", "exited with status 101", IN_USE),
];

/// Those which a reload can meet: the program is the same, what it reads is not.
pub const RELOADS: [Deploy; 7] = [
    broken("a worker that exits", "main exits", "exited with status 1", &[]),
    broken("a worker that panics", "main panics", "exited with status 101", PANIC),
    broken("a worker that is never ready", "main hangs", "since its time was over", &[]),
    broken("a worker that segfaults", "main segfaults", "was killed by SIGSEGV", &[]),
    broken("a worker that binds a port in use", "main PORT", "exited with status 101", IN_USE),
    broken("preload panics", "preload panics", "the nursery exited with status 101", PANIC),
    broken("preload hangs", "preload hangs", "was not done in time", &[]),
];

const fn file(what: &'static str, make: Make, told: &'static str) -> Deploy {
    Deploy { what, make, told, logged: &[] }
}

const fn broken(
    what: &'static str,
    how: &'static str,
    told: &'static str,
    logged: &'static [&'static str],
) -> Deploy {
    Deploy { what, make: Make::Broken(how), told, logged }
}

/// How long a new worker has, in these. Good ones have it too, and those that fail by themselves are to do so before it is over.
const STARTUP: &str = "6s";

/// Each of these, by SIGUSR2 to a good program; and then a good one.
#[must_use]
pub fn broken_deploys(which: &str, deploys: &[Deploy], at_least: Duration) -> Claim {
    let site = Site::open("judged", WORKERS, &[("CLUSTER_STARTUP_TIMEOUT", STARTUP)]);
    let good = site.release("judged_next");
    fails(site, which, deploys, "upgrade", Signal::USR2, at_least, |site, deploy, kind| {
        // What is made of a program is made of this one, and this one is in its place in the end.
        site.deploy(&good);
        make(site, deploy, kind);
    })
}

/// Each of these, by SIGHUP to a program that was good when it was started; and then a good one.
#[must_use]
pub fn broken_reloads(deploys: &[Deploy], at_least: Duration) -> Claim {
    let site = Site::open("broken", WORKERS, &[("CLUSTER_STARTUP_TIMEOUT", STARTUP)]);
    let which = "reloads of a broken configuration";
    fails(site, which, deploys, "reload", Signal::HUP, at_least, |site, _, kind| set(site, kind))
}

fn fails(
    mut site: Site,
    which: &str,
    deploys: &[Deploy],
    name: &str,
    signal: Signal,
    at_least: Duration,
    mut deploy: impl FnMut(&mut Site, Make, &str),
) -> Claim {
    site.cluster.expect_log(&format!("{name}: "));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port that is in use");
    let taken = taken.local_addr().expect("its address").to_string();
    let before = site.builds();
    let mut told = Vec::new();
    let mut faults = Vec::new();
    // Without a nursery preload is a part of each worker, and told of as such.
    let possible = |deploy: &&Deploy| !by_exec() || !deploy.what.starts_with("preload");
    for one in deploys.iter().filter(possible) {
        let kind =
            if let Make::Broken(kind) = one.make { kind.replace("PORT", &taken) } else { String::new() };
        let (requests, harmed) = (site.verdict().requests(), site.verdict().harmed().len());
        [one.told].iter().chain(one.logged).for_each(|part| site.cluster.expect_log(part));
        deploy(&mut site, one.make, &kind);
        let outcome = site.outcome(name, signal);
        if !at_least.is_zero() {
            // It takes longer than most of them.
            site.served();
        }
        let verdict = site.verdict();
        let (requests, harmed) = (verdict.requests() - requests, verdict.harmed().len() - harmed);
        if !outcome.contains(" failed: ") || !outcome.contains(one.told) {
            faults.push(format!("{}: {name} {outcome}", one.what));
        }
        let builds = site.builds();
        if builds != before {
            faults.push(format!("{}: {builds:?} serve after it", one.what));
        }
        told.push(Told { deploy: one.what.to_owned(), told: outcome, requests, harmed });
    }
    site.last(at_least);
    deploy(&mut site, Make::Good, "");
    let outcome = site.outcome(name, signal);
    let mut claim = Claim::clean(format!("{} {which}, and a good one", told.len()), site.judge());
    claim.faults.append(&mut faults);
    claim.demand(outcome.ends_with(" ok"), format!("the good one: {name} {outcome}"));
    claim.told = told;
    site.close();
    claim
}

/// Puts it in the place of the program.
fn make(site: &Site, what: Make, kind: &str) {
    let wrong = site.file("wrong");
    let _ = fs::remove_file(&wrong);
    let write = |bytes: &[u8], mode| {
        let source = site.file("source");
        fs::write(&source, bytes).expect("write a file");
        copy(&source, &wrong);
        fs::set_permissions(&wrong, Permissions::from_mode(mode)).expect("set its mode");
    };
    match what {
        Make::Good => return,
        Make::Missing => return fs::remove_file(site.program()).expect("remove the program"),
        Make::Program(path) => return site.point_to(Path::new(path)),
        Make::Broken(_) => {
            set(site, kind);
            return site.deploy(&site.release("broken"));
        }
        Make::Text(text) => write(text.as_bytes(), 0o755),
        Make::Forbidden => write(&fs::read(site.program()).expect("read the program"), 0o644),
        Make::Beginning => {
            let whole = fs::read(site.program()).expect("read the program");
            write(&whole[..whole.len().min(1 << 16)], 0o755);
        }
    }
    site.deploy(&wrong);
}

/// Tells the fixture `broken` how to fail.
fn set(site: &Site, kind: &str) {
    fs::write(site.file("kind"), kind).expect("write what is to fail");
}
