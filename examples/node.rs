//! The sample of Node's cluster that everybody knows, line by line. After each `//` is the line of JavaScript.
//!
//! Run: `cargo run --release --example node`
//! Try: `curl 127.0.0.1:8000`; `kill -9` a worker; `kill` the primary, whose pid it prints.

use actix_web::{App, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
struct Greeting {
    hello: String,
}

#[cluster::main(workers = "cpus", restart = "never", primary = setup, on_exit = died)] // for (…) { cluster.fork(); }
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (worker, pid) = (cluster::worker(), std::process::id()); // } else {
    let app = || App::new().route("/", web::get().to(async || HttpResponse::Ok().body("Hello World\n")));
    let server = HttpServer::new(app).bind(("127.0.0.1", 8000))?.run(); // http.createServer(…); server.listen(8000, …)
    println!("Worker {pid} started and listening on port 8000");

    worker.send(Greeting { hello: "world".to_owned() })?; // process.send({ hello: 'world' });

    let mut messages = worker.messages::<String>(); // process.on('message', (message) => {
    while let Some(message) = messages.recv().await {
        if message == "shutdown" {
            println!("Worker {pid} received shutdown message");
            server.handle().stop(true).await; // server.close(() => {
            println!("Worker {pid} closed server");
            return Ok(()); // process.exit(0);
        }
    }
    Ok(server.await?) // Ctrl-C: told by the cluster itself
}

fn setup(primary: &mut cluster::Primary) {
    println!("Master {} is running", std::process::id()); // if (cluster.isMaster) {
    primary.on_message(|worker: cluster::Worker, message: Greeting| {
        println!("Master received message from worker {}: {message:?}", worker.pid()); // cluster.on('message', …)
    });
    primary.on_signal(cluster::Signal::TERM, || {
        println!("SIGTERM signal received."); // process.on('SIGTERM', () => {
        for worker in cluster::workers() {
            let _ = worker.send("shutdown"); // cluster.workers[id].send('shutdown'); one that is gone needs no word
        }
    });
}

fn died(worker: cluster::Worker, exit: cluster::Exit) {
    let or_null = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let (code, signal) =
        (exit.code().map(|code| code.to_string()), exit.signal().map(|signal| signal.to_string()));
    println!("Worker {} died with code {} and signal {}", worker.pid(), or_null(code), or_null(signal));
    if !exit.exited_after_disconnect() {
        cluster::fork(); // cluster.on('exit', …) { cluster.fork(); }
    } else if cluster::workers().is_empty() {
        println!("Exiting master process."); // setTimeout(() => process.exit(0), 1000): here it waits for the last one
    }
}
