//! SIGKILL for the primary: all is gone at once, and a start on the same addresses serves at once.

use std::time::{Duration, Instant};

use cluster_judge::Class;
use rustix::process::Signal;

use super::Claim;
use super::site::{Site, WORKERS};
use crate::client::Connection;
use crate::running::Cluster;

/// How long its workers may outlive it: a second, and not the half minute of a drain.
const SOON: Duration = Duration::from_secs(10);

const UNFINISHED: &[u8] = b"POST /echo/1 HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nand so on";

/// So many times.
///
/// # Panics
/// When something is left, or the next start does not serve.
#[must_use]
pub fn primary_killed(count: u64) -> Claim {
    let mut site = Site::open("judged", WORKERS, &[]);
    let (mut gone, mut back) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..count {
        // Nobody finishes its second request: the worker that waits for it does not end by itself.
        let mut held = Connection::to(site.address());
        held.ask("/answer/1/0");
        held.write(UNFINISHED).expect("write a part of a request");
        let killed = Instant::now();
        site.cluster.signal(Signal::KILL);
        let next = Cluster::of("judged").workers(WORKERS).bind(&site.addresses().join(" "));
        // Nobody is left who could remove its file.
        site.cluster.shares(&site.addresses()[1].clone());
        site = site.replace(|cluster| {
            cluster.orphaned(SOON);
            gone = gone.max(killed.elapsed());
            let started = Instant::now();
            let mut cluster = next.start();
            cluster.up(WORKERS);
            back = back.max(started.elapsed());
            cluster
        });
        site.served();
    }
    let done = format!(
        "the primary killed {count} times: all gone after {} ms, served again {} ms after the next start",
        gone.as_millis(),
        back.as_millis()
    );
    let mut claim = Claim::new(done, site.judge());
    for class in [Class::Corrupt, Class::Duplicate, Class::Timeout] {
        let found = claim.verdict.count(class);
        claim.demand(found == 0, format!("{found} {}", class.name()));
    }
    claim.demand(claim.verdict.count(Class::Refused) > 0, "nobody was refused, so that nothing was tried");
    site.close();
    claim
}
