//! Binding and listening: TCP, IPv6, Unix sockets, sockets that were given.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use actix_web::{App, HttpRequest, web};
use cluster::actix::HttpServer;

use crate::client;
use crate::running::Running;

async fn whoami(request: HttpRequest) -> String {
    let peer = request.peer_addr().map_or("nobody".into(), |peer| peer.to_string());
    let config = request.app_config();
    format!("{peer} {} {} {}", config.host(), config.local_addr(), config.secure())
}

fn app() -> App<
    impl actix_web::dev::ServiceFactory<
        actix_web::dev::ServiceRequest,
        Config = (),
        Response = actix_web::dev::ServiceResponse,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    App::new().route("/", web::get().to(whoami))
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("actix-server-{}-{name}", std::process::id()))
}

#[test]
fn port_0_is_told_and_served_for_every_bind() {
    let server = HttpServer::new(app).bind("127.0.0.1:0").unwrap().bind(("127.0.0.1", 0)).unwrap();
    let addresses = server.addrs();
    assert_eq!(addresses.len(), 2);
    assert_ne!(addresses[0], addresses[1]);
    let schemes: Vec<_> = addresses.iter().map(|address| (*address, "http")).collect();
    assert_eq!(server.addrs_with_scheme(), schemes);
    let running = Running::new(server.run());
    for address in addresses {
        let mut client = client::tcp(address);
        let (me, answer) = (client.0.local_addr().unwrap(), client.get("/"));
        assert_eq!(answer.body, format!("{me} {address} {address} false"));
    }
    running.stop();
}

#[test]
fn a_host_name_can_be_set_after_binding() {
    let server = HttpServer::new(app).bind("127.0.0.1:0").unwrap().server_hostname("example.org");
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let answer = client::tcp(address).get("/");
    assert!(answer.body.ends_with(&format!(" example.org {address} false")), "{}", answer.body);
    running.stop();
}

#[test]
fn a_socket_that_listens_already_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = HttpServer::new(app).listen(listener).unwrap();
    assert_eq!(server.addrs(), [address]);
    let running = Running::new(server.run());
    assert_eq!(client::tcp(address).get("/").status, 200);
    running.stop();
}

#[test]
fn unix_sockets_are_served_where_a_stale_file_was() {
    let (bound, given) = (path("bound"), path("given"));
    drop(UnixListener::bind(&bound).unwrap());
    let listener = UnixListener::bind(&given).unwrap();
    let server = HttpServer::new(app).bind_uds(&bound).unwrap().listen_uds(listener).unwrap();
    let stand_in: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    assert_eq!(server.addrs_with_scheme(), [(stand_in, "http"); 2]);
    let running = Running::new(server.run());
    for path in [&bound, &given] {
        assert_eq!(client::unix(path).get("/").body, "nobody 127.0.0.1:8080 127.0.0.1:8080 false");
        std::fs::remove_file(path).unwrap();
    }
    running.stop();
}

#[test]
fn one_address_of_several_is_enough() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [taken.local_addr().unwrap(), "127.0.0.1:0".parse().unwrap()];
    assert_eq!(HttpServer::new(app).bind(&addresses[..]).unwrap().addrs().len(), 1);
}

#[test]
fn a_bind_error_is_the_last_one() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = HttpServer::new(app).bind(taken.local_addr().unwrap()).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.raw_os_error().is_some());
    let none: &[SocketAddr] = &[];
    assert_eq!(HttpServer::new(app).bind(none).err().unwrap().to_string(), "Could not bind to address");
}

#[test]
fn a_port_is_free_when_the_server_has_ended() {
    let server = HttpServer::new(app).bind("127.0.0.1:0").unwrap().workers(2);
    let address = server.addrs()[0];
    Running::new(server.run()).stop();
    TcpListener::bind(address).unwrap();
}
