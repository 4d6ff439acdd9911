//! hyper in the workers of a cluster: a loop of one's own, HTTP/1 and HTTP/2. It needs no feature of the cluster.
//!
//! Run: `cargo run --release --example hyper`
//! Try: `curl 127.0.0.1:8000`; `curl --http2-prior-knowledge 127.0.0.1:8000`; Ctrl-C.

use std::convert::Infallible;
use std::pin::pin;

use cluster::net::TcpListener;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = format!("Hello from worker {}, by {:?}\n", cluster::worker().id(), request.version());
    Ok(Response::new(Full::from(text)))
}

#[cluster::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:8000").await?;
    let (http, graceful) = (auto::Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    let mut leaving = pin!(cluster::shutdown_signal());
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            // Everything that was handed to this worker has been accepted.
            () = &mut leaving => break,
        };
        let connection = http.serve_connection(TokioIo::new(stream), service_fn(hello));
        // An error is one client's, that went away or spoke something else.
        tokio::spawn(graceful.watch(connection.into_owned()));
    }
    graceful.shutdown().await;
    Ok(())
}
