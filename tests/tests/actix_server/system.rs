//! Inside of an actix system and outside of any.

use actix_rt::{Arbiter, System};
use actix_web::{App, web};
use cluster::actix::HttpServer;

use crate::client;

async fn place() -> String {
    format!("{} {}", System::current().id(), Arbiter::try_current().is_some())
}

/// As under `#[actix_web::main]`: request code finds its system and its arbiter.
#[test]
fn inside_a_system_the_threads_are_its_arbiters() {
    let runner = System::new();
    let system = System::current().id();
    runner.block_on(async {
        let server = HttpServer::new(|| App::new().route("/", web::get().to(place))).workers(2);
        let server = server.bind("127.0.0.1:0").unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        let server = actix_rt::spawn(server);
        let body = web::block(move || client::tcp(address).get("/").body).await.unwrap();
        assert_eq!(body, format!("{system} true"));
        handle.stop(true).await;
        server.await.unwrap().unwrap();
    });
}

#[test]
fn a_panicking_factory_is_told_there_too() {
    System::new().block_on(async {
        let server = HttpServer::new(|| {
            if true {
                panic!("a factory that panics, on purpose");
            }
            App::new()
        });
        assert!(server.bind("127.0.0.1:0").unwrap().run().await.is_err());
    });
}

#[test]
fn system_exit_stops_the_system() {
    let runner = System::new();
    let server = HttpServer::new(App::new).system_exit().bind("127.0.0.1:0").unwrap().run();
    drop(server.handle().stop(true));
    runner.run().unwrap();
    drop(server);
}
