//! gRPC with tonic in the workers of a cluster. A client keeps its connection, and with it its worker.
//!
//! Run: `cargo run --release --example tonic`
//! Try: `cargo run --release --example tonic_client Ann` a few times; Ctrl-C while one of them counts.

mod greeter;

use cluster::net::TcpListener;
use tonic::transport::Server;

use greeter::Greeter;

#[cluster::main] // was: #[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let incoming = TcpListener::bind("127.0.0.1:8000").await?.into_incoming();
    // Was: .serve("127.0.0.1:8000".parse()?)
    let server = Server::builder().add_service(Greeter);
    server.serve_with_incoming_shutdown(incoming, cluster::shutdown_signal()).await?;
    Ok(())
}
