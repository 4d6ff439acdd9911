//! A server under the judge's eyes, whose program can be replaced on disk.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, process};

use cluster_judge::{Class, Plan, Trial, Verdict};
use rustix::process::Signal;

use crate::client::ask;
use crate::running::Cluster;
use crate::story::{Event, Story};

/// So many workers, but where there have to be more.
pub(super) const WORKERS: usize = 2;

/// A folder for one server; it goes with it.
struct Folder(PathBuf);

/// The server, and its clients.
pub(super) struct Site {
    pub(super) cluster: Cluster,
    trial: Option<Trial>,
    addresses: Vec<String>,
    workers: usize,
    began: Instant,
    folder: Folder,
}

/// What to start.
pub(super) struct Start<'a> {
    pub(super) fixture: &'a str,
    pub(super) workers: usize,
    /// On a Unix socket too.
    pub(super) both: bool,
    pub(super) settings: &'a [(&'a str, &'a str)],
}

impl Site {
    /// Starts a copy of this fixture with these settings, and sends everybody to work as soon as it serves.
    pub(super) fn open(fixture: &str, workers: usize, settings: &[(&str, &str)]) -> Self {
        Self::with(&Start { fixture, workers, both: true, settings }, |_| {})
    }

    /// The same, with other plans for the clients.
    pub(super) fn with(start: &Start<'_>, change: impl FnOnce(&mut Plan)) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = Folder(env::temp_dir().join(format!("cluster-site-{}-{number}", process::id())));
        fs::create_dir_all(&folder.0).expect("make a folder");
        let &Start { fixture, workers, both, settings } = start;
        let unix = format!(" unix:{}", folder.0.join("socket").display());
        let bind = format!("127.0.0.1:0{}", if both { &unix } else { "" });
        let plan = Cluster::of(fixture).copied_to(&folder.0.join("program")).workers(workers).bind(&bind);
        let plan = settings.iter().fold(plan, |plan, (name, value)| plan.env(name, value));
        let mut cluster = plan.start();
        cluster.up(workers);
        let addresses = cluster.until("all addresses", |story| {
            let all: Vec<_> = story.addresses().into_iter().map(str::to_owned).collect();
            (all.len() == bind.split(' ').count()).then_some(all)
        });
        let mut plan = everybody(&addresses);
        change(&mut plan);
        let trial = Some(plan.begin().expect("start the clients"));
        let mut site = Self { cluster, trial, addresses, workers, began: Instant::now(), folder };
        site.served();
        site
    }

    /// The address over TCP.
    pub(super) fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// All addresses.
    pub(super) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The file that was started.
    pub(super) fn program(&self) -> PathBuf {
        self.folder.0.join("program")
    }

    /// A file of this name beside the program.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    /// Puts a fixture into the folder, by its name.
    pub(super) fn release(&self, fixture: &str) -> PathBuf {
        let file = self.file(fixture);
        if !file.exists() {
            // Only the copy is of use.
            let _ = Cluster::of(fixture).copied_to(&file);
        }
        file
    }

    /// The program is this file from now on, without a moment in which there is none.
    pub(super) fn deploy(&self, release: &Path) {
        self.put(|next| fs::hard_link(release, next));
    }

    /// The same, in the way in which `current` leads to the release of the day.
    pub(super) fn point_to(&self, release: &Path) {
        self.put(|next| symlink(release, next));
    }

    fn put(&self, make: impl FnOnce(&Path) -> io::Result<()>) {
        let next = self.file("next");
        make(&next).expect("make the next program");
        fs::rename(&next, self.program()).expect("replace the program");
        // To rename one name of a file to another of it does nothing.
        let _ = fs::remove_file(&next);
    }

    /// Waits until every client has been answered once more.
    pub(super) fn served(&mut self) {
        let Some(trial) = &self.trial else { return };
        let all = trial.each_has(Class::Ok, 1);
        self.cluster.check(all, &format!("everybody to be served\n{}", trial.verdict()));
    }

    /// What the judge says so far.
    pub(super) fn verdict(&self) -> Verdict {
        self.trial.as_ref().expect("the clients are at work until the end").verdict()
    }

    /// Goes on until it has lasted for so long.
    pub(super) fn last(&mut self, time: Duration) {
        self.cluster.listen_for(time.saturating_sub(self.began.elapsed()));
    }

    /// What programs answer now, in one round of all workers.
    pub(super) fn builds(&self) -> Vec<String> {
        let mut builds: Vec<_> = (0..2 * self.workers).map(|_| ask(self.address(), "/build").body).collect();
        builds.dedup();
        builds
    }

    /// Asks for a `reload` or an `upgrade` by its signal; how it ends, such as `2 ok`.
    pub(super) fn outcome(&mut self, name: &str, signal: Signal) -> String {
        let before = self.outcomes(name).len();
        self.cluster.signal(signal);
        let ended = |story: &Story| outcomes(story, name).get(before).cloned();
        self.cluster.until(&format!("the end of the {name}"), ended)
    }

    /// How all of them have ended so far.
    pub(super) fn outcomes(&self, name: &str) -> Vec<String> {
        outcomes(self.cluster.story(), name)
    }

    /// Lets everybody be served once more, and ends the trial; the server goes on.
    pub(super) fn judge(&mut self) -> Verdict {
        self.served();
        self.dismiss()
    }

    /// Ends the trial at once.
    pub(super) fn dismiss(&mut self) -> Verdict {
        self.trial.take().expect("the trial ends once").stop()
    }

    /// Ends the server too, with the audit of what it leaves behind.
    pub(super) fn close(mut self) {
        self.cluster.up(self.workers);
        self.cluster.stop();
    }

    /// Another server in its place, for the same clients.
    pub(super) fn replace(self, next: impl FnOnce(Cluster) -> Cluster) -> Self {
        Self { cluster: next(self.cluster), ..self }
    }
}

/// How those that were told of in this story ended.
pub(super) fn outcomes(story: &Story, name: &str) -> Vec<String> {
    let said = story.events().filter_map(|event| match event {
        Event::Said(line) => line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned),
        _ => None,
    });
    said.collect()
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that can't be removed harms nobody, and why is not this test's affair.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// All kinds of clients, few of each, on these addresses; and some that ask again at once when they were answered, which
/// is the worst moment to close on them.
fn everybody(addresses: &[String]) -> Plan {
    let mut plan = Plan::on(addresses.iter().map(|address| address.parse().expect("an address")));
    plan.crews.push("keep-alive=3@1ms".parse().expect("a crew"));
    plan.may_race = true;
    plan
}
