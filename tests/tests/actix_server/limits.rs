//! How many connections, and how many threads.

use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};

use actix_web::{App, web};
use cluster::actix::HttpServer;

use crate::client;
use crate::running::{DEADLINE, Running};

#[test]
fn max_connections_leaves_the_rest_in_the_backlog() {
    let (connected, connections) = channel();
    let server = HttpServer::new(|| App::new().route("/", web::get().to(async || "hello")))
        .workers(2)
        .max_connections(1)
        .on_connect(move |_, _| connected.send(()).unwrap())
        .bind("127.0.0.1:0")
        .unwrap();
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let mut first = client::tcp(address);
    assert_eq!(first.get("/").status, 200);
    connections.recv_timeout(DEADLINE).unwrap();
    let mut second = client::tcp(address);
    second.send("/");
    assert_eq!(first.get("/").status, 200);
    assert!(connections.try_recv().is_err(), "a second connection beside the one that is allowed");
    drop(first);
    assert_eq!(second.receive().status, 200);
    running.stop();
}

/// Both handlers block their thread until the other is there.
#[test]
fn workers_are_threads() {
    let (entered, entries) = channel();
    let barrier = Arc::new(Barrier::new(2));
    let server = HttpServer::new(move || {
        let (entered, barrier) = (entered.clone(), Arc::clone(&barrier));
        App::new().route(
            "/",
            web::get().to(move || {
                entered.send(()).unwrap();
                barrier.wait();
                async { "both" }
            }),
        )
    });
    let server = server.workers(2).bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let mut first = client::tcp(address);
    first.send("/");
    entries.recv_timeout(DEADLINE).unwrap();
    // Made only now, when one thread is blocked: it can only be the other one's.
    let mut second = client::tcp(address);
    second.send("/");
    assert_eq!(first.receive().body, "both");
    assert_eq!(second.receive().body, "both");
    running.stop();
}
