#[cluster::main(runtime = "current_thread", threads = 2)]
async fn main() {}

mod threads_without_a_runtime {
    #[cluster::main(runtime = "none", threads = 2)]
    pub fn main() {}
}

mod nothing_to_limit {
    #[cluster::main(restart = "never", max_restarts = 3, restart_window = "1m")]
    pub async fn main() {}
}

mod async_without_a_runtime {
    #[cluster::main(runtime = "none")]
    pub async fn main() {}
}

mod runtime_without_async {
    #[cluster::main(runtime = "multi_thread")]
    pub fn main() {}
}

mod neither {
    #[cluster::main]
    pub fn main() {}
}
