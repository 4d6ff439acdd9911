//! Workers that never end by themselves: their body does not look at the drain. TEST_SILENT: nor are they ever ready.

use cluster_tests::announce;

#[cluster::main(primary = announce::life, runtime = "none")]
fn main() {
    if std::env::var_os("TEST_SILENT").is_none() {
        cluster::worker().ready();
    }
    println!("body {}", cluster::worker().id());
    loop {
        std::thread::park();
    }
}
