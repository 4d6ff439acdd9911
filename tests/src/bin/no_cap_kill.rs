//! A primary that may not send signals to another user's processes, and workers that do not go when they are told to.

use cluster::Primary;
use cluster_tests::announce;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

fn setup(primary: &mut Primary) {
    announce::life(primary);
    let mut own = capabilities(None).expect("read the capabilities");
    own.effective.remove(CapabilitySet::KILL);
    own.permitted.remove(CapabilitySet::KILL);
    set_capabilities(None, own).expect("do without CAP_KILL");
}

#[cluster::main(primary = setup)]
async fn main() {
    let _told = cluster::worker().disconnected();
    cluster::worker().ready();
    println!("body {}", cluster::worker().id());
    std::future::pending().await
}
