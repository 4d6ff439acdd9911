//! Three workers that take 0, 1 and 9 connections at a time.

use actix_web::App;
use cluster::actix::HttpServer;
use cluster_tests::{announce, serve};

#[cluster::main(workers = 3, primary = announce::life)]
async fn main() -> std::io::Result<()> {
    let most = [0, 1, 9][cluster::worker().slot()];
    HttpServer::new(|| App::new().configure(serve::routes))
        .max_connections(most)
        .bind("127.0.0.1:0")?
        .run()
        .await
}
