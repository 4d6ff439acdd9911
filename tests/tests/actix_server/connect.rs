//! `on_connect`: what it is given, for each kind of connection.

use std::any::Any;
use std::net::SocketAddr;

use actix_web::dev::Extensions;
use actix_web::rt::net::{TcpStream, UnixStream};
use actix_web::{App, HttpRequest, web};
use cluster::actix::HttpServer;

use crate::client;
use crate::running::Running;

struct Seen(Option<SocketAddr>);

fn note(stream: &dyn Any, extensions: &mut Extensions) {
    if let Some(stream) = stream.downcast_ref::<TcpStream>() {
        extensions.insert(Seen(stream.peer_addr().ok()));
    }
    if stream.is::<UnixStream>() {
        extensions.insert(Seen(None));
    }
}

#[test]
fn requests_find_what_on_connect_left() {
    let path = std::env::temp_dir().join(format!("actix-server-{}-connect", std::process::id()));
    let seen = |request: HttpRequest| async move { format!("{:?}", request.conn_data::<Seen>().unwrap().0) };
    let server = HttpServer::new(move || App::new().route("/", web::get().to(seen)))
        .on_connect(note)
        .bind("127.0.0.1:0")
        .unwrap()
        .bind_uds(&path)
        .unwrap();
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let mut client = client::tcp(address);
    assert_eq!(client.get("/").body, format!("Some({})", client.0.local_addr().unwrap()));
    assert_eq!(client::unix(&path).get("/").body, "None");
    std::fs::remove_file(path).unwrap();
    running.stop();
}
