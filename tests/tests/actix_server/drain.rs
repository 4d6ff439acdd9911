//! A server that is to end finishes what it has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use actix_web::{App, web};
use cluster::actix::{HttpServer, ServerHandle};

use crate::client;
use crate::running::{DEADLINE, Gated, Running, gate};

async fn wait(gated: web::Data<Gated>) -> &'static str {
    gated.get_ref().clone().pass().await;
    "done"
}

macro_rules! server {
    ($gated:expr) => {{
        let gated = web::Data::new($gated);
        HttpServer::new(move || {
            App::new()
                .app_data(gated.clone())
                .route("/", web::get().to(async || "hello"))
                .route("/wait", web::get().to(wait))
        })
        .bind("127.0.0.1:0")
        .unwrap()
    }};
}

#[test]
fn p51_a_request_in_progress_finishes_and_an_idle_connection_closes() {
    let (gate, gated) = gate();
    let server = server!(gated).keep_alive(Duration::from_secs(600));
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let (mut idle, mut busy) = (client::tcp(address), client::tcp(address));
    assert!(!idle.get("/").is_last());
    busy.send("/wait");
    gate.wait_entered();
    drop(running.handle.stop(true));
    idle.closed();
    gate.open();
    let answer = busy.receive();
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
    assert!(answer.is_last(), "{}", answer.head);
    busy.closed();
    running.end().unwrap();
}

/// The connection is made and the request sent when the drain has begun already: neither is reset.
#[test]
fn a_connection_that_was_only_accepted_is_answered() {
    let (gate, gated) = gate();
    let server = server!(gated);
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let (mut fresh, mut busy) = (client::tcp(address), client::tcp(address));
    busy.send("/wait");
    gate.wait_entered();
    drop(running.handle.stop(true));
    let answer = fresh.get("/");
    assert_eq!((answer.status, answer.is_last()), (200, true));
    fresh.closed();
    gate.open();
    assert_eq!(busy.receive().status, 200);
    running.end().unwrap();
}

/// The last call is over, and the request there before anybody could look: it is answered, and not cut off.
///
/// Mutation: close what is idle before whoever is to be told of a request was asked.
#[test]
fn a_request_that_came_while_the_thread_stood_still_is_answered() {
    let (entered, is_blocked) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let handle = Arc::new(OnceLock::<ServerHandle>::new());
    let stops = Arc::clone(&handle);
    let block = move || {
        let (entered, released, stops) = (entered.clone(), Arc::clone(&released), Arc::clone(&stops));
        async move {
            drop(stops.get().unwrap().stop(true));
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            // The last call has begun, and is over when this thread goes on.
            entered.send(()).unwrap();
            let begun = Instant::now();
            released.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            while begun.elapsed() < Duration::from_millis(400) {
                std::hint::spin_loop();
            }
            "done"
        }
    };
    let server = HttpServer::new(move || {
        let app = App::new().route("/", web::get().to(async || "hello"));
        app.route("/block", web::get().to(block.clone()))
    });
    let server = server.bind("127.0.0.1:0").unwrap().keep_alive(Duration::from_secs(600));
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    assert!(handle.set(running.handle.clone()).is_ok());
    let mut idle: Vec<_> = (0..200).map(|_| client::tcp(address)).collect();
    let mut blocking = client::tcp(address);
    for client in idle.iter_mut().chain([&mut blocking]) {
        assert!(!client.get("/").is_last());
    }
    blocking.send("/block");
    is_blocked.recv_timeout(DEADLINE).unwrap();
    for client in &mut idle {
        client.send("/");
    }
    release.send(()).unwrap();
    for client in idle.iter_mut().chain([&mut blocking]) {
        let answer = client.receive();
        assert_eq!((answer.status, answer.is_last()), (200, true));
        client.closed();
    }
    running.end().unwrap();
}

/// Clients that send one request after the other on a kept connection: the last response tells them to go.
#[test]
fn a_busy_keep_alive_client_loses_nothing() {
    let (_gate, gated) = gate();
    let server = server!(gated).workers(2);
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let warm = Arc::new(std::sync::Barrier::new(9));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let warm = Arc::clone(&warm);
            thread::spawn(move || {
                let mut client = client::tcp(address);
                client.get("/");
                warm.wait();
                while !client.get("/").is_last() {}
                client.closed();
            })
        })
        .collect();
    warm.wait();
    drop(running.handle.stop(true));
    for client in clients {
        client.join().unwrap();
    }
    running.end().unwrap();
}

#[test]
fn what_is_left_at_the_deadline_is_dropped() {
    let (gate, gated) = gate();
    let server = server!(gated).shutdown_timeout(1);
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let mut stuck = client::tcp(address);
    stuck.send("/wait");
    gate.wait_entered();
    let begun = Instant::now();
    drop(running.handle.stop(true));
    stuck.closed();
    running.end().unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_shutdown_signal_drains_this_server() {
    let (gate, gated) = gate();
    let (signal, signalled) = tokio::sync::oneshot::channel::<()>();
    let server = server!(gated).shutdown_signal(async move { drop(signalled.await) });
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let mut busy = client::tcp(address);
    busy.send("/wait");
    gate.wait_entered();
    signal.send(()).unwrap();
    gate.open();
    assert_eq!(busy.receive().body, "done");
    running.end().unwrap();
}

/// Blocking work that nobody waits for does not hold the end up.
#[test]
fn blocking_tasks_do_not_hold_the_end_up() {
    static RUNNING: AtomicBool = AtomicBool::new(false);
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let server = HttpServer::new(move || {
        let held = Arc::clone(&held);
        App::new().route(
            "/",
            web::get().to(move || {
                let held = Arc::clone(&held);
                async move {
                    drop(web::block(move || {
                        RUNNING.store(true, Ordering::SeqCst);
                        let _ = held.lock().unwrap().recv();
                    }));
                    "left running"
                }
            }),
        )
    });
    let server = server.bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    assert_eq!(client::tcp(address).get("/").status, 200);
    while !RUNNING.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    running.stop();
    drop(release);
}
