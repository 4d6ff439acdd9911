//! hyper in workers, with a loop of one's own and hyper-util.

use cluster_framework_tests::stop;
use cluster_tests::{Cluster, Signal};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Mutation: give every connection to the first worker; let a stream of `cluster::net` be at its end from the beginning.
#[test]
fn n56_hyper_serves_a_socket_that_it_did_not_accept() {
    stop::by_turns_to("hyper", "/");
}

/// Mutation: resolve `shutdown_signal` without the last call; drop the lanes' content.
#[test]
fn p42_hyper_loses_nothing() {
    stop::under_load("hyper", "127.0.0.1:0");
}

/// Mutation: resolve `shutdown_signal` when the drain begins, or without the last call.
#[test]
fn p42_hyper_answers_what_is_begun_and_what_is_queued() {
    let outcomes = stop::with_a_queue(Cluster::of("hyper").workers(2).start());
    assert!(stop::unanswered(&outcomes).is_empty(), "{outcomes:?}");
}

/// The control: a server that hears SIGTERM by itself stops too early, and the judge says so.
#[test]
fn p42_control_hyper_with_a_signal_of_its_own_loses_what_is_queued() {
    let mut cluster = Cluster::of("hyper").workers(2).env("TEST_OWN_SIGNAL", 1).start();
    cluster.expect_log("no worker was left to serve them");
    let outcomes = stop::with_a_queue(cluster);
    assert!(!stop::unanswered(&outcomes).is_empty(), "{outcomes:?}");
}

/// HTTP/2, which says goodbye: what is asked before is answered, the connection ends by itself, and nobody waits for the
/// client to close it.
///
/// Mutation: never resolve `shutdown_signal`.
#[test]
fn p50_http2_is_told_that_its_server_leaves() {
    let mut cluster = Cluster::start("hyper", 2);
    let address = cluster.up(2);
    let runtime = Runtime::new().expect("a runtime");
    let (mut client, connection) = runtime.block_on(async {
        let stream = TokioIo::new(TcpStream::connect(&address).await.expect("connect"));
        http2::handshake(TokioExecutor::new(), stream).await.expect("HTTP/2")
    });
    let connection = runtime.spawn(connection);
    runtime.block_on(async {
        let request = Request::get(format!("http://{address}/")).body(Empty::<Bytes>::new());
        let response = client.send_request(request.expect("a request")).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.expect("its body").to_bytes();
        assert!(body.starts_with(b"worker "), "{body:?}");
    });
    cluster.signal(Signal::TERM);
    runtime.block_on(connection).expect("its task").expect("a goodbye, and no error");
    cluster.ends(0);
}
