//! The sample of Node's cluster that everybody knows, line by line. Behind `//` is the JavaScript it stands for.
//!
//! Run: `cargo run --release --example node`
//! Try: `curl 127.0.0.1:8000`; `kill -9` a worker; `kill` the primary, whose pid it prints.

use actix_web::{App, HttpResponse, HttpServer, web};
use cluster::{Exit, Primary, Signal, Worker};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
struct Greeting {
    hello: String,
}

// for (let i = 0; i < numCPUs; i++) { cluster.fork(); }
#[cluster::main(workers = "cpus", restart = "never", primary = setup, on_exit = died)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (worker, pid) = (cluster::worker(), std::process::id()); // } else {
    let app = || App::new().route("/", web::get().to(async || HttpResponse::Ok().body("Hello World\n")));
    let server = HttpServer::new(app).bind(("127.0.0.1", 8000))?.run(); // server.listen(8000, () => {
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
    Ok(server.await?) // No message, but a Ctrl-C: the cluster stops the server by itself.
}

fn setup(primary: &mut Primary) {
    println!("Master {} is running", std::process::id()); // if (cluster.isMaster) {
    primary.on_message(|worker: Worker, message: Greeting| {
        println!("Master received message from worker {}: {message:?}", worker.pid()); // cluster.on('message', …
    });
    primary.on_signal(Signal::TERM, || {
        println!("SIGTERM signal received."); // process.on('SIGTERM', () => {
        for worker in cluster::workers() {
            let _ = worker.send("shutdown"); // cluster.workers[id].send('shutdown');
        }
    });
}

fn died(worker: Worker, exit: Exit) {
    let code = exit.code().map_or("null".to_owned(), |code| code.to_string());
    let signal = exit.signal().map_or("null".to_owned(), |signal| signal.to_string());
    println!("Worker {} died with code {code} and signal {signal}", worker.pid()); // cluster.on('exit', …
    if !exit.exited_after_disconnect() {
        cluster::fork(); // cluster.fork();
    } else if cluster::workers().is_empty() {
        println!("Exiting master process."); // setTimeout(…, 1000), but when the last one has exited
    }
}
