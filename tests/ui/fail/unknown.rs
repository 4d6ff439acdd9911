#[cluster::main(wrokers = 4)]
async fn main() {}

mod not_near_anything {
    #[cluster::main(colour = "red")]
    pub async fn main() {}
}

mod tokio_name {
    #[cluster::main(flavor = "multi_thread", worker_threads = 2)]
    pub async fn main() {}
}
