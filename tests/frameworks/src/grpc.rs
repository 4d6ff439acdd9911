//! A gRPC service and its client, by hand: `test.Echo` with a call of each kind. Messages are one text.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use cluster_tests::serve::me;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

/// A message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Text {
    /// All of it.
    #[prost(string, tag = "1")]
    pub text: String,
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { text }
    }
}

type Texts = Pin<Box<dyn Stream<Item = Result<Text, Status>> + Send>>;

/// The service.
#[derive(Clone, Copy, Debug)]
pub struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
            Ok(match request.uri().path() {
                "/test.Echo/Who" => grpc.unary(service_fn(who), request).await,
                "/test.Echo/Count" => grpc.server_streaming(service_fn(count), request).await,
                "/test.Echo/Chat" => grpc.streaming(service_fn(chat), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

/// `worker 1 slot 0 pid 123 generation 0 client 40123`
async fn who(request: Request<Text>) -> Result<Response<Text>, Status> {
    let client = request.remote_addr().map_or(0, |address| address.port());
    Ok(Response::new(format!("{} client {client}", me()).into()))
}

/// `1`, `2`, … up to the number asked for.
async fn count(request: Request<Text>) -> Result<Response<Texts>, Status> {
    let last: u32 = request.into_inner().text.parse().map_err(|_| Status::invalid_argument("no number"))?;
    Ok(Response::new(Box::pin(tokio_stream::iter(1..=last).map(|n| Ok(n.to_string().into())))))
}

/// Who serves, then each message, as it comes.
async fn chat(request: Request<Streaming<Text>>) -> Result<Response<Texts>, Status> {
    let first = tokio_stream::once(Ok(me().into()));
    Ok(Response::new(Box::pin(first.chain(request.into_inner()))))
}

/// A client with one connection.
#[derive(Clone, Debug)]
pub struct Client(tonic::client::Grpc<Channel>);

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn to(address: &str) -> Result<Self, tonic::transport::Error> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        Ok(Self(tonic::client::Grpc::new(channel)))
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))
    }

    /// A unary call: who serves.
    ///
    /// # Errors
    /// The server's, or why it was not reached.
    pub async fn who(&mut self) -> Result<String, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/test.Echo/Who");
        let reply = self.0.unary(Request::new(Text::default()), path, ProstCodec::default()).await?;
        let Text { text } = reply.into_inner();
        Ok(text)
    }

    /// Messages that the server sends.
    ///
    /// # Errors
    /// As [`who`](Self::who).
    pub async fn count(&mut self, last: u32) -> Result<Streaming<Text>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/test.Echo/Count");
        let request: Request<Text> = Request::new(last.to_string().into());
        Ok(self.0.server_streaming(request, path, ProstCodec::default()).await?.into_inner())
    }

    /// Messages both ways.
    ///
    /// # Errors
    /// As [`who`](Self::who).
    pub async fn chat(
        &mut self,
        texts: impl Stream<Item = Text> + Send + 'static,
    ) -> Result<Streaming<Text>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/test.Echo/Chat");
        Ok(self.0.streaming(Request::new(texts), path, ProstCodec::default()).await?.into_inner())
    }
}
