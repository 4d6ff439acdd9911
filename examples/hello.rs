//! Run: `cargo run --release --example hello`
//! Try: `curl 127.0.0.1:8000` a few times; `kill -9` a worker; Ctrl-C.

use actix_web::{App, HttpServer, Responder, web};

async fn hello() -> impl Responder {
    format!("Hello from worker {} (pid {})\n", cluster::worker().id(), std::process::id())
}

#[cluster::main(workers = "cpus", on_exit = goodbye)] // was: #[actix_web::main]. That is the whole change.
async fn main() -> std::io::Result<()> {
    HttpServer::new(|| App::new().route("/", web::get().to(hello))).bind(("127.0.0.1", 8000))?.run().await
}

fn goodbye(worker: cluster::Worker, exit: cluster::Exit) {
    println!("worker {} (pid {}) died: {exit}", worker.id(), worker.pid());
}
