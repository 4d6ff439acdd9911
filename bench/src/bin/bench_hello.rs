//! The measured cluster: actix-web's server by `cluster::main`. Says when workers listen, and when a reload is done.

use std::collections::HashMap;

use actix_web::{App, HttpServer};
use cluster::{Primary, Reload, Worker};
use cluster_bench::{KEEP_ALIVE, clock, routes, told};

#[cluster::main(primary = setup)]
async fn main() -> std::io::Result<()> {
    let server = HttpServer::new(|| App::new().configure(routes)).keep_alive(KEEP_ALIVE);
    server.bind(("127.0.0.1", told("PORT")))?.run().await
}

fn setup(primary: &mut Primary) {
    let born = std::sync::Arc::new(std::sync::Mutex::new(HashMap::new()));
    let births = born.clone();
    primary.on_fork(move |worker: Worker| {
        births.lock().expect("only this thread").insert(worker.id(), clock());
    });
    primary.on_listening(move |worker, _| {
        let now = clock();
        let forked = born.lock().expect("only this thread").remove(&worker.id()).unwrap_or(now);
        println!("listening {} {} {now} {}", worker.slot(), worker.pid(), now - forked);
    });
    primary.on_reload(|reload: Reload| match reload.result() {
        Ok(()) => println!("reloaded {} {}", clock(), reload.took().as_nanos()),
        Err(failure) => println!("failed {failure}"),
    });
}
