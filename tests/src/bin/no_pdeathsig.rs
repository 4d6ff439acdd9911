//! `serve`, without the kernel's help when the primary dies: only the channel tells.

use cluster_tests::{announce, serve};
use rustix::process::{parent_process_death_signal, set_parent_process_death_signal};

#[cluster::main(primary = announce::life)]
async fn main() -> std::io::Result<()> {
    println!("pdeathsig was {:?}", parent_process_death_signal()?.map(|signal| signal.as_raw()));
    set_parent_process_death_signal(None)?;
    serve::all().await
}
