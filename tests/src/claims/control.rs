//! The control: a server that closes its listener and opens it again must not pass.

use std::time::Duration;

use rustix::process::Signal;

use super::Claim;
use super::site::{Site, Start};

/// So many times. The promise is that the judge fails it.
#[must_use]
pub fn control(count: u64) -> Claim {
    let start = Start { fixture: "reopens", workers: 1, both: false, settings: &[] };
    let mut site = Site::with(&start, |plan| {
        // Whoever takes long is always under way.
        plan.crews.push("slow-answer=2@1s".parse().expect("a crew"));
    });
    for opened in 2..2 + count {
        site.cluster.signal(Signal::HUP);
        site.cluster.listening(opened);
        site.served();
    }
    let verdict = site.dismiss();
    site.cluster.signal(Signal::KILL);
    site.cluster.orphaned(Duration::from_secs(10));
    let faults = Claim::clean(String::new(), verdict.clone()).faults;
    let mut claim = Claim::new(format!("control: {count} times closed and opened again, must fail"), verdict);
    claim.demand(!faults.is_empty(), "the judge sees no fault in it");
    claim.demand(claim.verdict.count(cluster_judge::Class::Lost) > 0, "the judge sees no loss in it");
    claim
}
