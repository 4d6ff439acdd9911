//! The service, by hand, since it is this short; else `tonic-prost-build` writes it, with its client, from a `.proto`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Hello {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Greeting {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

/// `service Greeter { rpc Greet(Hello) returns (Greeting); rpc Count(Hello) returns (stream Greeting); }`
#[derive(Clone)]
pub(crate) struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "example.Greeter";
}

impl Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(match request.uri().path() {
                "/example.Greeter/Greet" => grpc.unary(service_fn(greet), request).await,
                "/example.Greeter/Count" => grpc.server_streaming(service_fn(count), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

async fn greet(hello: Request<Hello>) -> Result<Response<Greeting>, Status> {
    let client = hello.remote_addr().map_or("nowhere".to_owned(), |address| address.to_string());
    let name = hello.into_inner().name;
    let text = format!("Hello {name} at {client} from worker {}", cluster::worker().id());
    Ok(Response::new(Greeting { text }))
}

type Greetings = Pin<Box<dyn Stream<Item = Result<Greeting, Status>> + Send>>;

/// Ten of them, one a second: a stream that the end of its worker waits for.
async fn count(hello: Request<Hello>) -> Result<Response<Greetings>, Status> {
    let name = hello.into_inner().name;
    let greeting = move |n| Ok(Greeting { text: format!("{n}, {name}") });
    let greetings = tokio_stream::iter(1..=10).map(greeting).throttle(Duration::from_secs(1));
    Ok(Response::new(Box::pin(greetings)))
}
