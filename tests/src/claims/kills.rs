//! SIGKILL for one worker after the other: it costs what that worker held, and nothing else.

use std::time::Duration;

use cluster_judge::content::Random;
use cluster_judge::{Class, Record, Verdict};
use rustix::process::Signal;

use super::Claim;
use super::site::Site;
use crate::process::{self, Held};

/// One more than elsewhere, so that mostly somebody serves.
const WORKERS: usize = 3;

/// Ten a second, each of a worker that is drawn by lot.
const PAUSE: Duration = Duration::from_millis(90);

/// How long each stands still before: something is to wait on its lanes.
const STANDSTILL: Duration = Duration::from_millis(10);

/// So many kills.
#[must_use]
pub fn kills(count: u64, at_least: Duration) -> Claim {
    let mut site = Site::open("judged", WORKERS, &[]);
    let held = storm(&mut site, count, |_| {});
    site.last(at_least);
    judge(site, &held, format!("{count} kills, ten a second"))
}

/// So many, while one upgrade or reload follows the other.
#[must_use]
pub fn kills_meanwhile(count: u64, at_least: Duration) -> Claim {
    let mut site = Site::open("judged", WORKERS, &[]);
    let releases = ["judged", "judged_next"].map(|name| site.release(name));
    let mut wishes = 0;
    let held = storm(&mut site, count, |site| {
        // Nothing is asked for while something is under way, so that none of it is refused.
        if ["reload", "upgrade"].map(|name| site.outcomes(name).len()).iter().sum::<usize>() == wishes {
            site.deploy(&releases[wishes % 2]);
            site.cluster.signal(if wishes % 3 == 2 { Signal::HUP } else { Signal::USR2 });
            wishes += 1;
        }
    });
    site.cluster.until("the end of what is under way", |story| {
        let ended = |name| super::site::outcomes(story, name).len();
        (ended("reload") + ended("upgrade") == wishes).then_some(())
    });
    let well = |name| site.outcomes(name).iter().filter(|outcome| outcome.ends_with(" ok")).count();
    let done = format!(
        "{count} kills, ten a second, while {} of {wishes} upgrades and reloads were well",
        well("reload") + well("upgrade")
    );
    site.last(at_least);
    site.deploy(&releases[1]);
    let last = site.outcome("upgrade", Signal::USR2);
    let builds = site.builds();
    let mut claim = judge(site, &held, done);
    claim.demand(last.ends_with(" ok"), format!("afterwards: upgrade {last}"));
    claim.demand(builds == ["judged_next"], format!("{builds:?} serve in the end"));
    claim
}

/// So many kills; what all of those held. `meanwhile` is called after each.
fn storm(site: &mut Site, count: u64, mut meanwhile: impl FnMut(&mut Site)) -> Held {
    site.cluster.expect_log("SIGKILL");
    let mut random = Random::new(count);
    let mut held = Held::default();
    let mut killed = 0;
    while killed < count {
        meanwhile(site);
        site.cluster.listen_for(PAUSE);
        let up = site.cluster.story().listening();
        if up.is_empty() {
            continue;
        }
        if let Some(more) = kill(site, up[random.number() as usize % up.len()]) {
            held.ports.extend(more.ports);
            held.unix += more.unix;
            killed += 1;
        }
    }
    held
}

fn judge(mut site: Site, held: &Held, done: String) -> Claim {
    let verdict = site.judge();
    let (all, harmed) = (held.ports.len() + held.unix, verdict.harmed().len());
    let done = format!("{done}: of {all} connections that the killed held {harmed} were harmed");
    let faults = faults(&verdict, held);
    let mut claim = Claim { faults, ..Claim::new(done, verdict) };
    claim.demand(harmed > 0, "not one was harmed, so that nothing was tried");
    for class in [Class::Refused, Class::Corrupt, Class::Duplicate, Class::Timeout] {
        let found = claim.verdict.count(class);
        claim.demand(found == 0, format!("{found} {}, which no kill excuses", class.name()));
    }
    // It obeys, and its status is 0: so the primary was there all the time.
    site.close();
    claim
}

/// Kills a worker; what it held. It is stopped before, so that this can be looked at: what is sent to it from then on it does
/// not receive, and others do. `None` if it had left by then: it may have been replaced meanwhile.
fn kill(site: &mut Site, id: u64) -> Option<Held> {
    let pid = site.cluster.fork(id).pid;
    process::signal(pid, Signal::STOP);
    let stopped = || process::state(pid).is_none_or(|(state, _)| matches!(state, 'T' | 'Z'));
    site.cluster.eventually("a worker to stop", stopped);
    let held = process::held(pid, site.addresses())?;
    site.cluster.listen_for(STANDSTILL);
    process::signal(pid, Signal::KILL);
    Some(held)
}

/// Over TCP each connection that was harmed has to be one that somebody held who was killed; over Unix sockets there may be
/// as many.
fn faults(verdict: &Verdict, held: &Held) -> Vec<String> {
    // Whoever wrote so late may have crossed with the close of one that left.
    let crossed = |record: &&Record| record.class() == Class::Raced && record.late;
    let harmed = verdict.harmed().filter(|record| !crossed(record));
    let (named, nameless): (Vec<_>, Vec<_>) = harmed.partition(|record| !record.local.is_empty());
    let port = |record: &Record| record.local.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let is_stranger = |record: &&Record| !port(record).is_some_and(|port| held.ports.contains(&port));
    let strangers: Vec<_> = named.into_iter().filter(is_stranger).collect();
    let mut faults = Vec::new();
    if let Some(first) = strangers.first() {
        let count = strangers.len();
        faults.push(format!("{count} were harmed that nobody held who was killed, such as: {first}"));
    }
    if nameless.len() > held.unix {
        faults.push(format!("{} were harmed over a Unix socket, and {} held", nameless.len(), held.unix));
    }
    faults
}
