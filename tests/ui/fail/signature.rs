#[cluster::main]
async fn main(port: u16) {
    let _ = port;
}

mod generic {
    #[cluster::main]
    pub async fn main<T>() -> Option<T> {
        None
    }
}

mod another_name {
    #[cluster::main]
    pub async fn serve() {}
}

mod not_a_function {
    #[cluster::main]
    pub struct Main;
}
