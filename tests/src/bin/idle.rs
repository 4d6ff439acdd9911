//! Workers without a runtime that have nothing to do. TEST_SILENT: they do not even say that they are ready.

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
