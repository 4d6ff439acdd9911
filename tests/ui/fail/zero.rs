#[cluster::main(workers = 0)]
async fn main() {}

mod others {
    #[cluster::main(threads = 0, max_connections = 0, restart_window = "0s", startup_timeout = "0ms", drain_timeout = 0)]
    pub async fn main() {}
}
