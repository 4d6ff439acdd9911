//! hyper on TEST_BIND, with hyper-util: HTTP/1 and HTTP/2, and a loop of one's own.

use std::convert::Infallible;
use std::pin::pin;

use cluster::net::TcpListener;
use cluster_framework_tests::{address, end};
use cluster_tests::announce;
use cluster_tests::serve::me;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::{conn::auto, graceful::GracefulShutdown};

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let body = format!("{} body {}", me(), String::from_utf8_lossy(&body.unwrap_or_default()));
    Ok(Response::new(Full::from(body)))
}

#[cluster::main(primary = announce::life, runtime = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind(address()).await?;
    let (http, graceful) = (auto::Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    let mut end = pin!(end());
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = &mut end => break,
        };
        let connection = http.serve_connection(TokioIo::new(stream), service_fn(echo)).into_owned();
        tokio::spawn(graceful.watch(connection));
    }
    graceful.shutdown().await;
    Ok(())
}
