//! Pausing, resuming and stopping by a handle.

use actix_web::{App, web};
use cluster::actix::{HttpServer, Server};

use crate::client;
use crate::running::{Gated, Running, block_on, gate};

async fn wait(gated: web::Data<Gated>) -> &'static str {
    gated.get_ref().clone().pass().await;
    "done"
}

fn server(gated: Gated) -> (std::net::SocketAddr, Server) {
    let gated = web::Data::new(gated);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(gated.clone())
            .route("/", web::get().to(async || "hello"))
            .route("/wait", web::get().to(wait))
    });
    let server = server.workers(2).bind("127.0.0.1:0").unwrap();
    (server.addrs()[0], server.run())
}

#[test]
fn a_stop_that_is_not_graceful_drops_connections() {
    let (gate, gated) = gate();
    let (address, server) = server(gated);
    let running = Running::new(server);
    let mut stuck = client::tcp(address);
    stuck.send("/wait");
    gate.wait_entered();
    block_on(running.handle.stop(false));
    stuck.closed();
    running.end().unwrap();
}

#[test]
fn a_graceful_stop_can_be_cut_short() {
    let (gate, gated) = gate();
    let (address, server) = server(gated);
    let running = Running::new(server);
    let mut stuck = client::tcp(address);
    stuck.send("/wait");
    gate.wait_entered();
    drop(running.handle.stop(true));
    drop(running.handle.stop(false));
    stuck.closed();
    running.end().unwrap();
    block_on(running.handle.stop(true));
}

#[test]
fn a_paused_server_serves_only_what_it_has() {
    let (_gate, gated) = gate();
    let (address, server) = server(gated);
    let running = Running::new(server);
    let mut first = client::tcp(address);
    assert_eq!(first.get("/").status, 200);
    block_on(running.handle.pause());
    let mut second = client::tcp(address);
    second.send("/");
    assert_eq!(first.get("/").status, 200);
    second.0.set_nonblocking(true).unwrap();
    let early = second.0.peek(&mut [0]).unwrap_err();
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    second.0.set_nonblocking(false).unwrap();
    block_on(running.handle.resume());
    assert_eq!(second.receive().status, 200);
    running.stop();
}

#[test]
fn a_server_runs_unpolled_and_stops_when_it_is_dropped() {
    let (_gate, gated) = gate();
    let (address, server) = server(gated);
    let mut client = client::tcp(address);
    assert_eq!(client.get("/").status, 200);
    drop(server);
    client.closed();
}

#[test]
fn a_server_can_be_spawned() {
    let (_gate, gated) = gate();
    let (_, server) = server(gated);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let handle = server.handle();
        let server = tokio::spawn(server);
        handle.stop(true).await;
        server.await.unwrap().unwrap();
    });
}
