#[cluster::main]
async fn main() -> std::io::Result<()> {
    let answer = 42;
    answer
}

mod no_value {
    #[cluster::main]
    pub async fn main() -> Result<(), String> {
        std::future::ready(()).await;
    }
}

mod question_mark {
    #[cluster::main]
    pub async fn main() {
        std::fs::read("/dev/null")?;
    }
}

mod without_a_runtime {
    #[cluster::main(runtime = "none")]
    pub fn main() -> Result<(), String> {
        Err(404)
    }
}
