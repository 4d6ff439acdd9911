//! HTTP/2 without TLS.

use std::io::{Read, Write};
use std::time::Duration;

use actix_web::{App, HttpRequest, web};
use cluster::actix::HttpServer;

use crate::client;
use crate::running::Running;

/// The preface, empty settings, and one request for `/` whose header block is made of HPACK's static entries.
pub(crate) const H2_REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x09\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x04test";

/// Reads frames up to the headers of a response and tells the first byte of the block: 0x88 is status 200.
pub(crate) fn h2_status(stream: &mut impl Read) -> u8 {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).unwrap();
        if head[3] == 1 {
            return payload[0];
        }
    }
}

async fn version(request: HttpRequest) -> String {
    format!("{:?}", request.version())
}

#[test]
fn both_protocols_are_spoken_on_one_port() {
    let server = HttpServer::new(|| App::new().route("/", web::get().to(version)))
        .bind_auto_h2c("127.0.0.1:0")
        .unwrap()
        .listen_auto_h2c(std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .unwrap()
        .shutdown_timeout(1);
    let addresses = server.addrs();
    let running = Running::new(server.run());
    for address in addresses {
        assert_eq!(client::tcp(address).get("/").body, "HTTP/1.1");
        let mut client = client::tcp(address);
        client.0.write_all(H2_REQUEST).unwrap();
        assert_eq!(h2_status(&mut client.0), 0x88);
    }
    running.stop();
}

#[test]
fn a_silent_client_is_closed() {
    let server = HttpServer::new(App::new)
        .bind_auto_h2c("127.0.0.1:0")
        .unwrap()
        .client_request_timeout(Duration::from_millis(50));
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    client::tcp(address).closed();
    running.stop();
}

#[test]
fn a_silent_client_does_not_hold_a_drain_up() {
    let server = HttpServer::new(|| App::new().route("/", web::get().to(version)))
        .bind_auto_h2c("127.0.0.1:0")
        .unwrap()
        .client_request_timeout(Duration::ZERO);
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let mut silent = client::tcp(address);
    // Accepted in this order, so the silent one is in the server's hands.
    client::tcp(address).get("/");
    drop(running.handle.stop(true));
    silent.closed();
    running.end().unwrap();
}
