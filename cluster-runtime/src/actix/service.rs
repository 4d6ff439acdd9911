//! actix's own HTTP stack over one listener: the user's application, wrapped for a serving thread.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::error::DispatchError;
use actix_http::{Extensions, HttpServiceBuilder, KeepAlive, Protocol, Request, Response};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, map_config};
use actix_web::dev::AppConfig;

use super::drain::Drain;
use super::transport::Transport;
use crate::Address;
use crate::ipc::message::ListenerId;
use crate::worker::{self, Connection, Listener};

pub(super) type OnConnect = Arc<dyn Fn(&dyn Any, &mut Extensions) + Send + Sync>;

/// What a server's listeners have in common; the defaults are those of actix-web.
#[derive(Clone)]
pub(super) struct HttpSettings {
    pub(super) host: Option<String>,
    pub(super) keep_alive: KeepAlive,
    pub(super) tcp_nodelay: Option<bool>,
    pub(super) client_request_timeout: Duration,
    pub(super) client_disconnect_timeout: Duration,
    pub(super) h1_allow_half_closed: bool,
    pub(super) h1_write_buffer_size: Option<usize>,
    pub(super) h2_initial_window_size: Option<u32>,
    pub(super) h2_initial_connection_window_size: Option<u32>,
    #[cfg(any(feature = "rustls-0_23", feature = "openssl"))]
    pub(super) tls_handshake_timeout: Duration,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            host: None,
            keep_alive: KeepAlive::default(),
            tcp_nodelay: None,
            client_request_timeout: Duration::from_secs(5),
            client_disconnect_timeout: Duration::from_secs(1),
            h1_allow_half_closed: true,
            h1_write_buffer_size: None,
            h2_initial_window_size: None,
            h2_initial_connection_window_size: None,
            #[cfg(any(feature = "rustls-0_23", feature = "openssl"))]
            tls_handshake_timeout: Duration::from_secs(3),
        }
    }
}

/// A listener as actix-web presents it to applications and to `addrs()`.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) listener: Listener,
    pub(super) secure: bool,
}

impl Site {
    /// A Unix socket has no address of this type, and actix-web says this one in its place.
    pub(super) fn address(&self) -> SocketAddr {
        match self.listener.address() {
            Address::Tcp(address) => *address,
            Address::Unix(_) | Address::Udp(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        }
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    fn app_config(&self, http: &HttpSettings) -> AppConfig {
        let host = http.host.clone().unwrap_or_else(|| self.address().to_string());
        app_config(self.secure, host, self.address())
    }
}

/// actix-web makes its constructor public only in releases to come; this one is hidden, but its own test
/// crate depends on it, which keeps it in place for all of version 4.
fn app_config(secure: bool, host: String, address: SocketAddr) -> AppConfig {
    AppConfig::__priv_test_new(secure, host, address)
}

/// Serves the connections of one listener in one thread. The types of application and transport end here.
pub(super) trait ConnectionService {
    /// Pending while connections are better left where they are, an error when the application is broken.
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// The future lasts as long as the connection and keeps its permit. None of the user's code runs before
    /// its first poll, so that a panic in it ends one task.
    fn serve(&self, connection: Connection) -> LocalFuture<()>;
}

pub(super) type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// How a thread makes its service for a listener. Made by `bind_*` and `listen_*`, so that a program pays
/// with compile time only for the transports that it names; goes to the thread, where it is used once.
pub(super) trait Recipe: Send {
    fn site(&self) -> &Site;

    fn for_thread(&self) -> Box<dyn Recipe>;

    fn build(self: Box<Self>, http: Arc<HttpSettings>, drain: Drain) -> LocalFuture<io::Result<Built>>;
}

pub(super) type Built = (ListenerId, Box<dyn ConnectionService>);

/// `transport` runs in the serving thread, since TLS acceptors and drains belong to one.
pub(super) fn recipe<F, I, S, B, W, T>(
    site: Site,
    factory: F,
    on_connect: Option<OnConnect>,
    transport: W,
) -> Box<dyn Recipe>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
    W: AsyncFn(&HttpSettings, &Drain) -> io::Result<T> + Send + Clone + 'static,
    T: Transport,
{
    Box::new(HttpRecipe { site, factory, on_connect, transport, types: PhantomData::<fn() -> (S, B)> })
}

struct HttpRecipe<F, S, B, W> {
    site: Site,
    factory: F,
    on_connect: Option<OnConnect>,
    transport: W,
    types: PhantomData<fn() -> (S, B)>,
}

impl<F, I, S, B, W, T> Recipe for HttpRecipe<F, S, B, W>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
    W: AsyncFn(&HttpSettings, &Drain) -> io::Result<T> + Send + Clone + 'static,
    T: Transport,
{
    fn site(&self) -> &Site {
        &self.site
    }

    fn for_thread(&self) -> Box<dyn Recipe> {
        let (site, factory) = (self.site.clone(), self.factory.clone());
        recipe(site, factory, self.on_connect.clone(), self.transport.clone())
    }

    fn build(self: Box<Self>, http: Arc<HttpSettings>, drain: Drain) -> LocalFuture<io::Result<Built>> {
        Box::pin(async move {
            let transport = (self.transport)(&http, &drain).await?;
            let config = self.site.app_config(&http);
            let app = (self.factory)().into_factory();
            let app = app
                .map_err({
                    let drain = drain.clone();
                    move |error: S::Error| {
                        let mut response = Into::<actix_web::Error>::into(error).error_response();
                        drain.mark(response.head_mut());
                        worker::answered();
                        response
                    }
                })
                .map({
                    let drain = drain.clone();
                    move |response: S::Response| {
                        let mut response: Response<B> = response.into();
                        drain.mark(response.head_mut());
                        worker::answered();
                        response
                    }
                });

            let mut http =
                builder::<T::Stream, _>(&http).graceful_shutdown_signal(move || drain.clone().closing());
            if let Address::Tcp(address) = self.site.listener.address() {
                http = http.local_addr(*address);
            }
            if let Some(on_connect) = self.on_connect {
                http =
                    http.on_connect_ext(move |stream: &T::Stream, extensions| on_connect(stream, extensions));
            }
            let http = http.finish::<_, B>(map_config(app, move |()| config.clone())).new_service(()).await;
            // Its error is the unit: actix-http has logged what was wrong.
            let http = http.map_err(|()| {
                let address = self.site.listener.address();
                io::Error::other(format!("building the application for {address} failed"))
            })?;
            let service = Stack { transport, http: Rc::new(http) };
            Ok((self.site.listener.id(), Box::new(service) as Box<dyn ConnectionService>))
        })
    }
}

fn builder<T, S>(http: &HttpSettings) -> HttpServiceBuilder<T, S>
where
    S: ServiceFactory<Request, Config = ()>,
    S::Error: Into<Response<actix_http::body::BoxBody>> + 'static,
    S::InitError: fmt::Debug,
    <S::Service as Service<Request>>::Future: 'static,
{
    let mut builder = HttpServiceBuilder::default()
        .keep_alive(http.keep_alive)
        .client_request_timeout(http.client_request_timeout)
        .client_disconnect_timeout(http.client_disconnect_timeout)
        .h1_allow_half_closed(http.h1_allow_half_closed);
    if let Some(size) = http.h1_write_buffer_size {
        builder = builder.h1_write_buffer_size(size);
    }
    if let Some(size) = http.h2_initial_window_size {
        builder = builder.h2_initial_window_size(size);
    }
    if let Some(size) = http.h2_initial_connection_window_size {
        builder = builder.h2_initial_connection_window_size(size);
    }
    builder
}

struct Stack<T, H> {
    transport: T,
    http: Rc<H>,
}

impl<T, H> ConnectionService for Stack<T, H>
where
    T: Transport,
    H: Service<(T::Stream, Protocol, Option<SocketAddr>), Response = (), Error = DispatchError> + 'static,
{
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.transport.poll_ready(cx) {
            Poll::Ready(Ok(())) => {
                self.http.poll_ready(cx).map_err(|error| io::Error::other(error.to_string()))
            }
            waiting => waiting,
        }
    }

    fn serve(&self, connection: Connection) -> LocalFuture<()> {
        let Connection { socket, peer, permit, .. } = connection;
        let opening = self.transport.open(socket);
        let http = Rc::clone(&self.http);
        Box::pin(async move {
            // Declared first to be dropped last: the connection counts until its socket is closed.
            let _permit = permit;
            let (stream, protocol) = match async { opening?.await }.await {
                Ok(opened) => opened,
                Err(error) => return tracing::debug!(?peer, %error, "a connection did not open"),
            };
            if let Err(error) = http.call((stream, protocol, peer)).await {
                tracing::debug!(?peer, %error, "a connection ended");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_see_the_listener_they_are_served_on() {
        let address = SocketAddr::from(([127, 0, 0, 1], 4433));
        let config = app_config(true, "example.org".into(), address);
        assert!(config.secure());
        assert_eq!(config.host(), "example.org");
        assert_eq!(config.local_addr(), address);
    }
}
