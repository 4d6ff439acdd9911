//! From a socket to the stream on which HTTP is spoken, and which HTTP: what the kinds of listeners differ in.

use std::any::Any;
use std::future::Future;
use std::io;
use std::net::TcpStream as StdTcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::task::{Context, Poll};

use actix_http::Protocol;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::drain::Drain;
use super::eager::Eager;
use super::service::HttpSettings;

/// One listener's transport within one serving thread. The types of the streams are those that `on_connect`
/// callbacks downcast to in programs written for actix-web.
pub(super) trait Transport: 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// What an `on_connect` callback is shown of it.
    fn show(stream: &Self::Stream) -> &dyn Any {
        stream
    }

    /// Pending while this thread has as many openings in progress as it may.
    fn poll_ready(&self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Not an `async fn`: what counts the openings in progress has to do so before the task of the
    /// connection runs, or a burst would pass the limit. The stream is `shown` to somebody before it is read from.
    fn open(
        &self,
        socket: OwnedFd,
        shown: bool,
    ) -> io::Result<impl Future<Output = io::Result<Opened<Self::Stream>>> + 'static>;
}

pub(super) type Opened<T> = (T, Protocol);

/// The socket comes non-blocking, which is what tokio asks for.
fn tcp(socket: OwnedFd, nodelay: Option<bool>) -> io::Result<TcpStream> {
    let stream = TcpStream::from_std(StdTcpStream::from(socket))?;
    if let Some(nodelay) = nodelay {
        // Fails where the client is gone already, which reading tells better.
        let _ = stream.set_nodelay(nodelay);
    }
    Ok(stream)
}

/// HTTP/1 over TCP.
pub(super) struct Plain {
    nodelay: Option<bool>,
}

impl Plain {
    pub(super) fn new(http: &HttpSettings) -> Plain {
        Plain { nodelay: http.tcp_nodelay }
    }
}

impl Transport for Plain {
    type Stream = Eager;

    fn show(stream: &Eager) -> &dyn Any {
        match stream {
            Eager::Registered(stream) => stream,
            other => other,
        }
    }

    fn open(
        &self,
        socket: OwnedFd,
        shown: bool,
    ) -> io::Result<impl Future<Output = io::Result<Opened<Eager>>> + 'static> {
        let socket = StdTcpStream::from(socket);
        if let Some(nodelay) = self.nodelay {
            // As below.
            let _ = socket.set_nodelay(nodelay);
        }
        let stream = Eager::new(socket, shown)?;
        Ok(async move { Ok((stream, Protocol::Http1)) })
    }
}

/// HTTP/1 over a Unix socket.
pub(super) struct Unix;

impl Transport for Unix {
    type Stream = UnixStream;

    fn open(
        &self,
        socket: OwnedFd,
        _shown: bool,
    ) -> io::Result<impl Future<Output = io::Result<Opened<UnixStream>>> + 'static> {
        let stream = UnixStream::from_std(StdUnixStream::from(socket))?;
        Ok(async move { Ok((stream, Protocol::Http1)) })
    }
}

/// HTTP/1, or HTTP/2 with prior knowledge, over TCP: the first bytes tell.
pub(super) struct AutoH2c {
    nodelay: Option<bool>,
    /// For the first bytes; zero means no limit.
    patience: std::time::Duration,
    drain: Drain,
}

impl AutoH2c {
    pub(super) fn new(http: &HttpSettings, drain: &Drain) -> AutoH2c {
        AutoH2c { nodelay: http.tcp_nodelay, patience: http.client_request_timeout, drain: drain.clone() }
    }
}

impl Transport for AutoH2c {
    type Stream = TcpStream;

    fn open(
        &self,
        socket: OwnedFd,
        _shown: bool,
    ) -> io::Result<impl Future<Output = io::Result<Opened<TcpStream>>> + 'static> {
        // The beginning of the preface (RFC 9113, 3.4), enough to tell it from any HTTP/1 request.
        const PREFACE: [u8; 12] = *b"PRI * HTTP/2";
        let stream = tcp(socket, self.nodelay)?;
        let patience = if self.patience.is_zero() { std::time::Duration::MAX } else { self.patience };
        let closing = self.drain.clone().closing();
        Ok(async move {
            let mut start = [0; PREFACE.len()];
            // Nobody else watches over a client that connects and is silent: HTTP's timeouts begin after this.
            let peek = crate::race::unless(closing, stream.peek(&mut start));
            match tokio::time::timeout(patience, peek).await {
                Ok(Some(peeked)) => peeked?,
                Ok(None) => return Err(io::Error::other("the server drains before the client said a word")),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            };
            Ok((stream, if start == PREFACE { Protocol::Http2 } else { Protocol::Http1 }))
        })
    }
}

#[cfg(any(feature = "rustls-0_23", feature = "openssl"))]
pub(super) use tls::Tls;

#[cfg(any(feature = "rustls-0_23", feature = "openssl"))]
mod tls {
    use std::error::Error;

    use actix_service::{Service, ServiceFactory};

    use super::*;

    /// HTTP over TLS over TCP; `A` is the handshake of one of actix-tls's libraries.
    pub(in crate::actix) struct Tls<A: Service<TcpStream>> {
        nodelay: Option<bool>,
        acceptor: A,
        /// Whether client and server agreed on HTTP/2.
        is_h2: fn(&A::Response) -> bool,
    }

    impl<A: Service<TcpStream>> Tls<A> {
        /// In the serving thread: actix-tls counts the handshakes of each thread.
        pub(in crate::actix) async fn new<F>(
            http: &HttpSettings,
            acceptor: F,
            is_h2: fn(&A::Response) -> bool,
        ) -> io::Result<Tls<A>>
        where
            F: ServiceFactory<TcpStream, Config = (), Service = A, Response = A::Response, Error = A::Error>,
        {
            let acceptor = acceptor.new_service(()).await;
            let acceptor = acceptor.map_err(|_| io::Error::other("building the TLS acceptor failed"))?;
            Ok(Tls { nodelay: http.tcp_nodelay, acceptor, is_h2 })
        }
    }

    impl<A> Transport for Tls<A>
    where
        A: Service<TcpStream> + 'static,
        A::Response: AsyncRead + AsyncWrite + Unpin + 'static,
        A::Error: Error + Send + Sync + 'static,
    {
        type Stream = A::Response;

        fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.acceptor.poll_ready(cx).map_err(io::Error::other)
        }

        fn open(
            &self,
            socket: OwnedFd,
            _shown: bool,
        ) -> io::Result<impl Future<Output = io::Result<Opened<A::Response>>> + 'static> {
            let handshake = self.acceptor.call(tcp(socket, self.nodelay)?);
            let is_h2 = self.is_h2;
            Ok(async move {
                let stream = handshake.await.map_err(io::Error::other)?;
                let protocol = if is_h2(&stream) { Protocol::Http2 } else { Protocol::Http1 };
                Ok((stream, protocol))
            })
        }
    }
}
