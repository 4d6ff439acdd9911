//! Workers without a runtime that have nothing to do but to say a random number. TEST_SILENT: they do not even say that they are
//! ready.

use std::hash::{BuildHasher, RandomState};

use cluster_tests::announce;

#[cluster::main(primary = announce::life, runtime = "none")]
fn main() {
    if std::env::var_os("TEST_SILENT").is_none() {
        cluster::worker().ready();
    }
    println!("random {} {}", cluster::worker().id(), RandomState::new().hash_one(0));
    println!("body {}", cluster::worker().id());
    loop {
        std::thread::park();
    }
}
