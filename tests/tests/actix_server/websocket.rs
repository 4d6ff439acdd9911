//! Upgraded connections while the server drains.

use std::io::Write;
use std::time::{Duration, Instant};

use actix_web::{App, Error, HttpRequest, HttpResponse, web};
use actix_ws::Message;
use cluster::actix::HttpServer;

use crate::client::{self, Client, Stream};
use crate::running::Running;

async fn echo(request: HttpRequest, body: web::Payload) -> Result<HttpResponse, Error> {
    let (response, mut session, mut messages) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(async move {
        while let Some(Ok(message)) = messages.recv().await {
            if let Message::Text(text) = message {
                session.text(text).await.unwrap();
            }
        }
    });
    Ok(response)
}

/// Sends a short text, masked with zeros, and reads it back.
fn exchange<T: Stream>(client: &mut Client<T>, text: &str) {
    let length = text.len() as u8;
    client.0.write_all(&[&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()).unwrap();
    let mut frame = vec![0; 2 + text.len()];
    client.0.read_exact(&mut frame).unwrap();
    assert_eq!(frame, [&[0x81, length], text.as_bytes()].concat());
}

#[test]
fn a_websocket_echoes_until_the_deadline_of_a_drain() {
    let server = HttpServer::new(|| App::new().route("/", web::get().to(echo)))
        .keep_alive(Duration::from_secs(600))
        .shutdown_timeout(6)
        .bind("127.0.0.1:0")
        .unwrap();
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let mut client = client::tcp(address);
    let request = "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.0.write_all(request.as_bytes()).unwrap();
    assert!(client.head().starts_with("http/1.1 101"));
    exchange(&mut client, "before");
    let begun = Instant::now();
    drop(running.handle.stop(true));
    // Across the moment at which idle connections are closed.
    while begun.elapsed() < Duration::from_secs(1) {
        exchange(&mut client, "meanwhile");
    }
    client.closed();
    running.end().unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(6));
}
