//! `serve`, whose workers can flood the primary with messages, and whose primary tells how far a flood has come.

use actix_web::{App, web};
use cluster::actix::HttpServer;
use cluster_tests::{floods, serve};

#[cluster::main(primary = floods::watch, swap = false)]
async fn main() -> std::io::Result<()> {
    let app = || App::new().configure(serve::routes).route("/pour", web::get().to(floods::pour));
    HttpServer::new(app).bind("127.0.0.1:0")?.run().await
}
