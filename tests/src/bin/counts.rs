//! `serve`, or with TEST_NET an echo, whose primary tells what is counted whenever that has changed, and at each end. Workers can
//! be told to write what they like on the board.

use std::time::Duration;

use actix_web::{App, web};
use cluster::actix::HttpServer;
use cluster::{Exit, Primary, Worker, status};
use cluster_tests::{announce, board, echo, serve};

/// `total 5 2 15, 1: 3 1 9, 2: 2 1 6`: received, open, served.
fn counts() -> String {
    let status = status().expect("this is the primary");
    let told = status.workers.iter().filter_map(|worker| Some((worker.id, worker.load?)));
    let told = told.map(|(id, load)| format!(", {id}: {} {} {}", load.received, load.open, load.served));
    let total = status.load;
    format!("total {} {} {}{}", total.received, total.open, total.served, told.collect::<String>())
}

fn setup(primary: &mut Primary) {
    announce::life(primary);
    let mut last = String::new();
    primary.every(Duration::from_millis(20), move || {
        if last != counts() {
            last = counts();
            println!("{last}");
        }
    });
    primary.on_exit(|worker: Worker, _: Exit| {
        println!("{} had {:?}", worker.id(), worker.load().map(|load| load.served))
    });
}

#[cluster::main(primary = setup)]
async fn main() -> std::io::Result<()> {
    if std::env::var_os("TEST_NET").is_some() {
        echo::tcp(cluster::net::TcpListener::bind("127.0.0.1:0").await?).await;
        return Ok(());
    }
    let routes = |app: &mut web::ServiceConfig| serve::routes(app.route("/lie", web::get().to(board::lie)));
    HttpServer::new(move || App::new().configure(routes)).bind("127.0.0.1:0")?.run().await
}
