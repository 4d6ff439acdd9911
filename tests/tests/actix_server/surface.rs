//! Every method of actix-web's builder that is the same in all builds, called as programs call it.

use std::time::Duration;

use actix_web::http::KeepAlive;
use actix_web::{App, HttpResponse, middleware, web};
use cluster::actix::HttpServer;

use crate::client;
use crate::running::Running;

#[test]
#[allow(deprecated)]
fn every_setting_is_accepted() {
    let server = HttpServer::new(|| {
        App::new()
            .wrap(middleware::DefaultHeaders::new().add(("x-wrapped", "yes")))
            .route("/", web::post().to(async |body: web::Bytes| HttpResponse::Ok().body(body)))
            .route("/", web::get().to(async || "hello"))
    })
    .workers(1)
    .keep_alive(Duration::from_secs(5))
    .keep_alive(KeepAlive::Os)
    .keep_alive(None)
    .tcp_nodelay(true)
    .backlog(64)
    .max_connections(100)
    .max_connection_rate(256)
    .worker_max_blocking_threads(2)
    .client_request_timeout(Duration::from_secs(4))
    .client_timeout(Duration::from_secs(4))
    .client_disconnect_timeout(Duration::from_secs(2))
    .client_shutdown(2000)
    .tls_handshake_timeout(Duration::from_secs(2))
    .h1_allow_half_closed(false)
    .h1_write_buffer_size(8192)
    .h2_initial_window_size(1 << 16)
    .h2_initial_connection_window_size(1 << 17)
    .server_hostname("localhost")
    .system_exit()
    .disable_signals()
    .shutdown_timeout(5)
    .bind("127.0.0.1:0")
    .unwrap();
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let mut client = client::tcp(address);
    let answer = client.get("/");
    assert_eq!(answer.body, "hello");
    assert!(answer.head.contains("x-wrapped: yes"), "{}", answer.head);
    assert!(answer.is_last(), "keep-alive is off: {}", answer.head);
    running.stop();
}

#[test]
#[should_panic = "workers(0)"]
fn no_threads_are_too_few() {
    let _ = HttpServer::new(App::new).workers(0);
}

#[test]
#[should_panic = "h1_write_buffer_size(0)"]
fn a_buffer_has_a_size() {
    let _ = HttpServer::new(App::new).h1_write_buffer_size(0);
}

#[test]
#[should_panic = "bind()"]
fn a_server_needs_a_listener() {
    drop(HttpServer::new(App::new).run());
}
