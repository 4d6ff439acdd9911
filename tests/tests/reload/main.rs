//! Rolling reloads: new workers in the place of old ones, and nobody outside notices.

mod course;
mod failures;
mod load;
mod preload;
mod stop;
mod words;

use cluster_tests::{Cluster, Event};

/// Blocks until a reload has failed; why.
fn failure(cluster: &mut Cluster, generation: u64) -> String {
    cluster.told(&format!("reload {generation} failed: "))
}

/// How the reloads ended, in order: `2 ok`.
fn outcomes(cluster: &Cluster) -> Vec<String> {
    let said = cluster.story().events().filter_map(|event| match event {
        Event::Said(line) => line.strip_prefix("reload ").map(str::to_owned),
        _ => None,
    });
    said.collect()
}
