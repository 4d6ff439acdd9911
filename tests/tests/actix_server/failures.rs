//! Applications that cannot be built, and threads that panic.

use actix_web::{App, web};
use cluster::actix::HttpServer;

use crate::client;
use crate::running::Running;

async fn broken() -> &'static str {
    panic!("a handler that panics, on purpose")
}

#[test]
fn a_panic_ends_one_connection() {
    let server = HttpServer::new(|| {
        App::new().route("/", web::get().to(async || "hello")).route("/panic", web::get().to(broken))
    });
    let server = server.bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let (mut good, mut bad) = (client::tcp(address), client::tcp(address));
    assert_eq!(good.get("/").status, 200);
    bad.send("/panic");
    bad.closed();
    assert_eq!(good.get("/").status, 200);
    assert_eq!(client::tcp(address).get("/").status, 200);
    running.stop();
}

#[test]
fn a_panic_in_on_connect_ends_one_connection() {
    let server = HttpServer::new(|| App::new().route("/", web::get().to(async || "hello")))
        .on_connect({
            let first = std::sync::atomic::AtomicBool::new(true);
            move |_, _| assert!(!first.swap(false, std::sync::atomic::Ordering::SeqCst), "on purpose")
        })
        .bind("127.0.0.1:0")
        .unwrap();
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    client::tcp(address).closed();
    assert_eq!(client::tcp(address).get("/").status, 200);
    running.stop();
}

#[test]
fn an_application_that_cannot_be_built_ends_the_server() {
    let server = HttpServer::new(|| App::new().data_factory(async || Err::<(), _>("no database")));
    let server = server.workers(2).bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let error = Running::new(server.run()).end().unwrap_err();
    assert_eq!(error.to_string(), format!("building the application for {address} failed"));
}

#[test]
fn a_factory_that_panics_ends_the_server() {
    let server = HttpServer::new(|| {
        if true {
            panic!("a factory that panics, on purpose");
        }
        App::new()
    });
    let server = server.bind("127.0.0.1:0").unwrap();
    let error = Running::new(server.run()).end().unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}
