//! The ways in which an `HttpServer` comes to its listeners.

use std::fmt;
use std::io;
use std::net::{self, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use actix_http::body::MessageBody;
use actix_http::{Request, Response};
use actix_service::{IntoServiceFactory, Service, ServiceFactory};
#[cfg(feature = "openssl")]
use actix_tls::accept::openssl::{self, reexports::SslAcceptor, reexports::SslAcceptorBuilder};
#[cfg(feature = "rustls-0_23")]
use actix_tls::accept::rustls_0_23::{self, reexports::ServerConfig};
use actix_web::dev::AppConfig;

use super::drain::Drain;
use super::server::HttpServer;
use super::service::{HttpSettings, Site, recipe};
use super::transport::AutoH2c;
#[cfg(any(feature = "rustls-0_23", feature = "openssl"))]
use super::transport::Tls;
use super::transport::{Plain, Transport, Unix};
use crate::Address;
use crate::worker::{self, Listener};

/// # Binding
///
/// In a worker the primary binds, once for all workers, and keeps the socket when workers come and go. An
/// error in it, such as "address in use", arrives here as it is.
impl<F, I, S, B> HttpServer<F, I, S, B>
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
{
    /// Listens for HTTP/1 on all addresses that `addrs` resolves to; with port 0, [`addrs`](Self::addrs)
    /// tells which was chosen, the same in all workers. Resolving a host name blocks.
    ///
    /// # Errors
    ///
    /// If `addrs` cannot be resolved, or none of its addresses can be bound: the last one's error.
    pub fn bind<A: net::ToSocketAddrs>(self, addrs: A) -> io::Result<Self> {
        self.bind_each(addrs, Self::serve_plain)
    }

    /// As [`bind`](Self::bind), for HTTP/1 and HTTP/2 with prior knowledge.
    ///
    /// A connection that sends nothing is closed after
    /// [`client_request_timeout`](Self::client_request_timeout); actix-web has no limit here.
    pub fn bind_auto_h2c<A: net::ToSocketAddrs>(self, addrs: A) -> io::Result<Self> {
        self.bind_each(addrs, Self::serve_auto_h2c)
    }

    /// As [`bind`](Self::bind), for HTTP/1 and HTTP/2 over TLS with Rustls 0.23. Puts "h2" and "http/1.1" before
    /// the ALPN protocols of `config`.
    #[cfg(feature = "rustls-0_23")]
    pub fn bind_rustls_0_23<A: net::ToSocketAddrs>(self, addrs: A, config: ServerConfig) -> io::Result<Self> {
        let acceptor = rustls_acceptor(config);
        self.bind_each(addrs, move |server, listener| server.serve_rustls(listener, acceptor.clone()))
    }

    /// As [`bind`](Self::bind), for HTTP/1 and HTTP/2 over TLS with OpenSSL. Sets the ALPN protocols to "h2" and
    /// "http/1.1".
    #[cfg(feature = "openssl")]
    pub fn bind_openssl<A>(self, addrs: A, builder: SslAcceptorBuilder) -> io::Result<Self>
    where
        A: net::ToSocketAddrs,
    {
        let acceptor = openssl_acceptor(builder)?;
        self.bind_each(addrs, move |server, listener| server.serve_openssl(listener, acceptor.clone()))
    }

    /// Listens for HTTP/1 on a Unix socket at a path. What is left there by a former process is removed.
    ///
    /// # Errors
    ///
    /// If the path cannot be bound.
    pub fn bind_uds<A>(self, uds_path: A) -> io::Result<Self>
    where
        A: AsRef<Path>,
    {
        let listener = worker::bind(Address::Unix(uds_path.as_ref().to_owned()), self.backlog)?;
        Ok(self.serve_unix(listener))
    }

    /// Serves HTTP/1 on a socket that listens already. In a worker it goes to the primary, which accepts for
    /// all workers that give it a socket of the same address.
    ///
    /// # Errors
    ///
    /// If it is not a listening socket, or cannot be given to the primary.
    pub fn listen(self, lst: net::TcpListener) -> io::Result<Self> {
        Ok(self.serve_plain(adopt(lst)?))
    }

    /// As [`listen`](Self::listen), for HTTP/1 and HTTP/2 with prior knowledge.
    pub fn listen_auto_h2c(self, lst: net::TcpListener) -> io::Result<Self> {
        Ok(self.serve_auto_h2c(adopt(lst)?))
    }

    /// As [`listen`](Self::listen), over TLS as [`bind_rustls_0_23`](Self::bind_rustls_0_23).
    #[cfg(feature = "rustls-0_23")]
    pub fn listen_rustls_0_23(self, lst: net::TcpListener, config: ServerConfig) -> io::Result<Self> {
        Ok(self.serve_rustls(adopt(lst)?, rustls_acceptor(config)))
    }

    /// As [`listen`](Self::listen), over TLS as [`bind_openssl`](Self::bind_openssl).
    #[cfg(feature = "openssl")]
    pub fn listen_openssl(self, lst: net::TcpListener, builder: SslAcceptorBuilder) -> io::Result<Self> {
        let acceptor = openssl_acceptor(builder)?;
        Ok(self.serve_openssl(adopt(lst)?, acceptor))
    }

    /// As [`listen`](Self::listen), on a Unix socket.
    pub fn listen_uds(self, lst: UnixListener) -> io::Result<Self> {
        Ok(self.serve_unix(adopt(lst)?))
    }

    /// Serves HTTP/1 on a socket, TCP or Unix, that a service manager has opened and passed to this program, by its name; see
    /// [`net::TcpListener::activated`](crate::net::TcpListener::activated). By its address, `bind`, `bind_uds` and the like
    /// find it too: for TLS, say. actix-web has no such method.
    ///
    /// # Errors
    ///
    /// If no socket has this name: the error tells which there are.
    pub fn bind_activated(self, name: &str) -> io::Result<Self> {
        let listener = worker::activated(name)?;
        match listener.address() {
            Address::Unix(_) => Ok(self.serve_unix(listener)),
            _ => Ok(self.serve_plain(listener)),
        }
    }

    fn serve_plain(self, listener: Listener) -> Self {
        self.serve(listener, false, async |http: &HttpSettings, _: &Drain| Ok(Plain::new(http)))
    }

    fn serve_auto_h2c(self, listener: Listener) -> Self {
        self.serve(listener, false, async |http: &HttpSettings, drain: &Drain| Ok(AutoH2c::new(http, drain)))
    }

    fn serve_unix(self, listener: Listener) -> Self {
        self.serve(listener, false, async |_: &HttpSettings, _: &Drain| Ok(Unix))
    }

    #[cfg(feature = "rustls-0_23")]
    fn serve_rustls(self, listener: Listener, acceptor: rustls_0_23::Acceptor) -> Self {
        self.serve(listener, true, async move |http: &HttpSettings, _: &Drain| {
            let mut acceptor = acceptor.clone();
            acceptor.set_handshake_timeout(http.tls_handshake_timeout);
            Tls::new(http, acceptor, |stream: &rustls_0_23::TlsStream<_>| {
                stream.get_ref().1.alpn_protocol() == Some(b"h2")
            })
            .await
        })
    }

    #[cfg(feature = "openssl")]
    fn serve_openssl(self, listener: Listener, acceptor: SslAcceptor) -> Self {
        self.serve(listener, true, async move |http: &HttpSettings, _: &Drain| {
            let mut acceptor = openssl::Acceptor::new(acceptor.clone());
            acceptor.set_handshake_timeout(http.tls_handshake_timeout);
            Tls::new(http, acceptor, |stream: &openssl::TlsStream<_>| {
                stream.ssl().selected_alpn_protocol() == Some(b"h2")
            })
            .await
        })
    }

    /// Binds to every address of `addrs`. One that works is enough: a host name may well have one that is of
    /// no use here.
    fn bind_each(
        mut self,
        addrs: impl ToSocketAddrs,
        serve: impl Fn(Self, Listener) -> Self,
    ) -> io::Result<Self> {
        let (mut bound, mut failure) = (false, None);
        for address in addrs.to_socket_addrs()? {
            match worker::bind(Address::Tcp(address), self.backlog) {
                Ok(listener) => {
                    bound = true;
                    self = serve(self, listener);
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if !bound => Err(error),
            None if !bound => Err(io::Error::other("Could not bind to address")),
            _ => Ok(self),
        }
    }

    fn serve<W, T>(mut self, listener: Listener, secure: bool, transport: W) -> Self
    where
        W: AsyncFn(&HttpSettings, &Drain) -> io::Result<T> + Send + Clone + 'static,
        T: Transport,
    {
        let site = Site { listener, secure };
        self.plan.recipes.push(recipe(site, self.factory.clone(), self.on_connect.clone(), transport));
        self
    }
}

fn adopt(socket: impl Into<OwnedFd>) -> io::Result<Listener> {
    worker::adopt(socket.into())
}

#[cfg(feature = "rustls-0_23")]
fn rustls_acceptor(mut config: ServerConfig) -> rustls_0_23::Acceptor {
    config.alpn_protocols.splice(0..0, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    rustls_0_23::Acceptor::new(config)
}

#[cfg(feature = "openssl")]
fn openssl_acceptor(mut builder: SslAcceptorBuilder) -> io::Result<SslAcceptor> {
    use actix_tls::accept::openssl::reexports::AlpnError;

    builder.set_alpn_protos(b"\x02h2\x08http/1.1")?;
    builder.set_alpn_select_callback(|_, offered| {
        [&b"h2"[..], b"http/1.1"].into_iter().find(|ours| offers(offered, ours)).ok_or(AlpnError::NOACK)
    });
    Ok(builder.build())
}

/// Whether a client's list of protocols, each with its length before it, has this one.
#[cfg(feature = "openssl")]
fn offers(mut offered: &[u8], protocol: &[u8]) -> bool {
    while let Some((&length, rest)) = offered.split_first() {
        let Some((name, rest)) = rest.split_at_checked(length.into()) else { return false };
        if name == protocol {
            return true;
        }
        offered = rest;
    }
    false
}

#[cfg(all(test, feature = "openssl"))]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_found_only_as_a_whole_name() {
        assert!(offers(b"\x08http/1.1\x02h2", b"h2"));
        assert!(offers(b"\x02h2", b"h2"));
        assert!(!offers(b"\x04xh2x", b"h2"));
        assert!(!offers(b"\x05\x02h2", b"h2"));
        assert!(!offers(b"", b"h2"));
    }
}
