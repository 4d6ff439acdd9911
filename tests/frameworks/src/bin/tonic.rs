//! tonic on TEST_BIND.

use cluster::net::TcpListener;
use cluster_framework_tests::{address, end, grpc};
use cluster_tests::announce;
use tonic::transport::Server;

#[cluster::main(primary = announce::life)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let incoming = TcpListener::bind(address()).await?.into_incoming();
    Ok(Server::builder().add_service(grpc::Echo).serve_with_incoming_shutdown(incoming, end()).await?)
}
