//! Upgrades in place: another program in the primary's process, and nobody outside notices.

mod failures;
mod load;
mod same;
mod window;

use cluster_tests::{Cluster, Event, Signal};

/// Upgrades, and waits until that has succeeded.
fn upgrade(cluster: &mut Cluster, generation: u64) {
    cluster.signal(Signal::USR2);
    cluster.said(&format!("upgrade {generation} ok"));
}

/// Blocks until an upgrade has failed; why.
fn failure(cluster: &mut Cluster, generation: u64) -> String {
    cluster.told(&format!("upgrade {generation} failed: "))
}

/// How often this was said.
fn times_said(cluster: &Cluster, text: &str) -> usize {
    cluster.story().events().filter(|event| matches!(event, Event::Said(line) if line == text)).count()
}
