//! What the cluster is measured against: actix-web alone, one process with as many threads as the cluster has workers.

use actix_web::{App, HttpServer};
use cluster_bench::{KEEP_ALIVE, routes, told};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let server = HttpServer::new(|| App::new().configure(routes)).keep_alive(KEEP_ALIVE);
    server.workers(told("CLUSTER_WORKERS")).bind(("127.0.0.1", told("PORT")))?.run().await
}
