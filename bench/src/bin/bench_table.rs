//! A cluster that preloads a table: how much memory it takes, with however many workers.

use std::sync::OnceLock;

use actix_web::{App, HttpServer, web};
use cluster_bench::{routes, told};

static TABLE: OnceLock<Vec<u64>> = OnceLock::new();

fn build() {
    let entries = told::<u64>("MEGABYTES") * 125_000;
    TABLE.get_or_init(|| (0..entries).map(|n| n.wrapping_mul(n) ^ n >> 7).collect());
}

/// Reads all of it, so that it is each worker's memory too.
async fn sum() -> String {
    let sum = TABLE.get().into_iter().flatten().fold(0_u64, |sum, n| sum.wrapping_add(*n));
    format!("{sum}\n")
}

#[cluster::main(preload = build)]
async fn main() -> std::io::Result<()> {
    let app = || App::new().route("/sum", web::get().to(sum)).configure(routes);
    HttpServer::new(app).bind(("127.0.0.1", told("PORT")))?.run().await
}
