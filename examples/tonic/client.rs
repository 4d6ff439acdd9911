//! Asks the example `tonic`; a program of its own, without a cluster.
//!
//! Run: `cargo run --release --example tonic_client Ann`

// The server's half of it is dead code here.
#[allow(dead_code)]
mod greeter;

use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use greeter::{Greeting, Hello};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or("stranger".to_owned());
    let mut grpc = Grpc::new(Endpoint::from_static("http://127.0.0.1:8000").connect().await?);

    let greet = PathAndQuery::from_static("/example.Greeter/Greet");
    grpc.ready().await?;
    let hello = Request::new(Hello { name: name.clone() });
    let reply = grpc.unary(hello, greet, ProstCodec::<Hello, Greeting>::default()).await?;
    println!("{}", reply.into_inner().text);

    let count = PathAndQuery::from_static("/example.Greeter/Count");
    grpc.ready().await?;
    let hello = Request::new(Hello { name });
    let reply = grpc.server_streaming(hello, count, ProstCodec::<Hello, Greeting>::default()).await?;
    let mut greetings = reply.into_inner();
    while let Some(greeting) = greetings.message().await? {
        println!("{}", greeting.text);
    }
    Ok(())
}
