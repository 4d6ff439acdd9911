//! Serves the judge's routes in a cluster.

use std::env;

use actix_web::{App, HttpServer};
use cluster_tests::{announce, judged};

#[cluster::main(primary = announce::life)]
async fn main() -> std::io::Result<()> {
    let mut server = HttpServer::new(|| App::new().configure(judged::routes));
    for address in env::var("TEST_BIND").as_deref().unwrap_or("127.0.0.1:0").split(' ') {
        server = match address.strip_prefix("unix:") {
            Some(path) => server.bind_uds(path)?,
            None => server.bind(address)?,
        };
    }
    server.run().await
}
