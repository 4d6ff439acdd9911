//! A TLS session that begins with one worker goes on with another.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use cluster_tests::{Cluster, Event, Plan, forks};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

/// The certificate that the fixture made.
fn certificate(cluster: &mut Cluster) -> CertificateDer<'static> {
    let hex = cluster.until("the certificate", |story| {
        story.events().find_map(|event| match event {
            Event::Said(line) => line.strip_prefix("certificate ").map(str::to_owned),
            _ => None,
        })
    });
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>().into()
}

/// How many of sixteen connections, one after the other over four workers, resume the session of one before.
fn resumed(plan: Plan) -> usize {
    let mut cluster = plan.workers(4).start();
    let address = cluster.up(4);
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&mut cluster)).expect("a certificate");
    let config = Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
    let mut served = Vec::new();
    let mut resumed = 0;
    for _ in 0..16 {
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(Arc::clone(&config), name).expect("a session");
        let mut stream = StreamOwned::new(session, TcpStream::connect(&address).expect("connect"));
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("ask");
        let mut answer = String::new();
        // The tickets come with the answer; actix closes the socket without a farewell of TLS.
        let _ = stream.read_to_string(&mut answer);
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        served.push(body.split(' ').nth(1).unwrap_or("nobody").to_owned());
        resumed += usize::from(stream.conn.handshake_kind() == Some(HandshakeKind::Resumed));
    }
    served.sort();
    served.dedup();
    assert_eq!(served, ["1", "2", "3", "4"], "each had its turn");
    cluster.stop();
    resumed
}

/// Mutation: run `preload` in each worker. The control has ticket keys of its own in each worker.
#[test]
fn r54_tls_sessions_are_resumed_across_workers() {
    if !forks() {
        return;
    }
    let shared = resumed(Cluster::of("tickets"));
    assert!(shared >= 15, "{shared} of 16 were resumed");
    let own = resumed(Cluster::of("tickets").env("TEST_TICKETS", "own"));
    assert!(own < 15, "the control: {own} of 16 were resumed without shared keys");
}
