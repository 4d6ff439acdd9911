#[cluster::main(workers = "all", threads = "2", runtime = "tokio", swap = "no", restart = "on_failure")]
async fn main() {}

mod more {
    #[cluster::main(workers = -1, max_restarts = 4294967296, max_connections = LIMIT, crate = "not a path")]
    pub async fn main() {}
}

mod functions {
    #[cluster::main(preload = "warm_up", primary = setup(), on_exit = |_, _| {})]
    pub async fn main() {}
}

mod durations {
    #[cluster::main(restart_window = 60, startup_timeout = "60", drain_timeout = "half an hour")]
    pub async fn main() {}
}
