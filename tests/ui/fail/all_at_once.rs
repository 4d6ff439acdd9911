//! Six mistakes, one build; and `main` is not missing.
#[cluster::main(worker = 4, threads = 0, runtime = "none", drain_timeout = 30, restart, crate = cluster)]
async fn main(_argument: u8) {}
