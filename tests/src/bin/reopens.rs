//! The control: no cluster. On SIGHUP it drops its connections, closes its listener, and opens another.

use std::net::SocketAddr;

use actix_web::rt::signal::unix::{SignalKind, signal};
use actix_web::{App, HttpServer};
use cluster_tests::judged;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    for opened in 1.. {
        let server = HttpServer::new(|| App::new().configure(judged::routes));
        let server = server.workers(1).disable_signals().bind(address)?;
        address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        let serving = actix_web::rt::spawn(server);
        // In the words of a cluster's fixture, for whoever waits.
        println!("listening {opened} address {address} state listening");
        hangup.recv().await;
        handle.stop(false).await;
        serving.await.map_err(std::io::Error::other)??;
    }
    Ok(())
}
