#[cluster::main(workers)]
async fn main() {}

mod not_an_argument {
    #[cluster::main("cpus", 4)]
    pub async fn main() {}
}

mod list {
    #[cluster::main(workers(4))]
    pub async fn main() {}
}

mod no_equals_sign {
    #[cluster::main(workers 4, threads: 2)]
    pub async fn main() {}
}

mod no_value {
    #[cluster::main(workers = , threads = 2)]
    pub async fn main() {}
}

mod no_comma {
    #[cluster::main(workers = 4 threads = 2)]
    pub async fn main() {}
}

mod twice {
    #[cluster::main(workers = 4, threads = 2, workers = "cpus")]
    pub async fn main() {}
}
