//! Workers come and go, by reloads, upgrades, scaling and wear: nobody notices.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use super::Claim;
use super::site::{Site, WORKERS};

/// So many reloads; the load lasts for this long at least.
#[must_use]
pub fn reloads(count: u64, at_least: Duration) -> Claim {
    let mut site = Site::open("judged", WORKERS, &[]);
    for generation in 2..2 + count {
        site.cluster.signal(Signal::HUP);
        site.cluster.said(&format!("reload {generation} ok"));
    }
    site.last(at_least);
    let mut claim = Claim::clean(format!("{count} reloads, SIGHUP"), site.judge());
    let last = site.cluster.story().forks().map(|fork| fork.generation).max();
    claim.demand(last == Some(count + 1), format!("generation {last:?} is the last"));
    site.close();
    claim
}

/// So many upgrades, to one program and back by turns; the load lasts for this long at least.
///
/// # Panics
/// Where the kernel does not tell what program a process runs.
#[must_use]
pub fn upgrades(count: u64, at_least: Duration) -> Claim {
    let mut site = Site::open("judged", WORKERS, &[]);
    let releases = ["judged", "judged_next"].map(|name| (name, site.release(name)));
    let mut odd = Vec::new();
    for generation in 2..2 + count {
        let (name, release) = &releases[usize::from(generation % 2 == 0)];
        // By both ways in which programs are replaced.
        if generation % 4 < 2 {
            site.deploy(release)
        } else {
            site.point_to(release)
        };
        site.cluster.signal(Signal::USR2);
        site.cluster.said(&format!("upgrade {generation} ok"));
        let builds = site.builds();
        if builds != [*name] {
            odd.push(format!("{builds:?} serve after the upgrade to {name}"));
        }
        let runs = fs::read_link(format!("/proc/{}/exe", site.cluster.pid())).expect("the primary lives");
        if !fs::metadata(&runs).is_ok_and(|runs| is_same(&runs, &fs::metadata(release).expect("a release"))) {
            odd.push(format!("the primary runs {}", runs.display()));
        }
    }
    site.last(at_least);
    let mut claim = Claim::clean(format!("{count} upgrades in place, SIGUSR2"), site.judge());
    claim.faults.append(&mut odd);
    site.close();
    claim
}

/// So many times a worker more, and then one less; the load lasts for this long at least.
#[must_use]
pub fn scalings(count: u64, at_least: Duration) -> Claim {
    let mut site = Site::open("judged", WORKERS, &[]);
    for _ in 0..count {
        site.cluster.signal(Signal::TTIN);
        site.cluster.up(WORKERS + 1);
        site.cluster.signal(Signal::TTOU);
        site.cluster.up(WORKERS);
    }
    site.last(at_least);
    let claim =
        Claim::clean(format!("{count} times a worker more and one less, SIGTTIN and SIGTTOU"), site.judge());
    site.close();
    claim
}

/// So many workers that have answered as many requests as they may; the load lasts for this long at least.
#[must_use]
pub fn worn(count: usize, at_least: Duration) -> Claim {
    let mut site = Site::open("judged", WORKERS, &[("CLUSTER_MAX_REQUESTS", "500")]);
    site.cluster.until("workers to wear out", |story| (story.exits().count() >= count).then_some(()));
    site.last(at_least);
    let verdict = site.judge();
    let exits = site.cluster.story().exits().count();
    let claim = Claim::clean(format!("{exits} workers replaced after 500 requests each"), verdict);
    // Some may be on their way out, and others in.
    site.cluster.stop();
    claim
}

fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
