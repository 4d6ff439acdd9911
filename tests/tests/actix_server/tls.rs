//! TLS, and what applications see of it.

use std::any::Any;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use actix_web::{App, HttpRequest, web};
use cluster::actix::HttpServer;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use crate::client::{self, Client};
use crate::h2c::{H2_REQUEST, h2_status};
use crate::running::Running;

fn config() -> (ServerConfig, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let certificate: CertificateDer = made.cert.into();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = ServerConfig::builder().with_no_client_auth();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    (server.with_single_cert(vec![certificate], key).unwrap(), roots)
}

type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

fn connect(address: SocketAddr, roots: &RootCertStore, protocol: &[u8]) -> TlsClient {
    let config = ClientConfig::builder().with_root_certificates(roots.clone());
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    Client(StreamOwned::new(session, client::tcp(address).0))
}

struct Handshake(String);

fn note(stream: &dyn Any, extensions: &mut Extensions) {
    let stream = stream.downcast_ref::<TlsStream<actix_web::rt::net::TcpStream>>().unwrap();
    let protocol = stream.get_ref().1.alpn_protocol().unwrap();
    extensions.insert(Handshake(String::from_utf8_lossy(protocol).into()));
}

async fn seen(request: HttpRequest) -> String {
    let alpn = &request.conn_data::<Handshake>().unwrap().0;
    let scheme = request.connection_info().scheme().to_owned();
    format!("{scheme} {alpn} {}", request.peer_addr().unwrap())
}

#[test]
fn both_protocols_are_spoken_over_tls() {
    let (config, roots) = config();
    let server = HttpServer::new(|| App::new().route("/", web::get().to(seen)))
        .on_connect(note)
        .bind_rustls_0_23("127.0.0.1:0", config.clone())
        .unwrap()
        .listen_rustls_0_23(TcpListener::bind("127.0.0.1:0").unwrap(), config)
        .unwrap()
        .shutdown_timeout(1);
    let addresses = server.addrs();
    assert_eq!(server.addrs_with_scheme()[0], (addresses[0], "https"));
    let running = Running::new(server.run());
    for address in addresses {
        let mut h1 = connect(address, &roots, b"http/1.1");
        let me = h1.0.sock.local_addr().unwrap();
        assert_eq!(h1.get("/").body, format!("https http/1.1 {me}"));
        let mut h2 = connect(address, &roots, b"h2");
        h2.0.write_all(H2_REQUEST).unwrap();
        assert_eq!(h2_status(&mut h2.0), 0x88);
    }
    running.stop();
}

#[test]
fn a_client_that_speaks_no_tls_ends_alone() {
    let (config, roots) = config();
    let server = HttpServer::new(|| App::new().route("/", web::get().to(seen)))
        .on_connect(note)
        .bind_rustls_0_23("127.0.0.1:0", config)
        .unwrap();
    let address = server.addrs()[0];
    let running = Running::new(server.run());
    let mut stranger = client::tcp(address);
    stranger.0.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stranger.0, &mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(connect(address, &roots, b"http/1.1").get("/").status, 200);
    running.stop();
}
