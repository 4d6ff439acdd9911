//! The builder: the surface of `actix_web::HttpServer`, method by method.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::{Extensions, KeepAlive, Request, Response};
use actix_service::{IntoServiceFactory, Service, ServiceFactory};
use actix_web::dev::AppConfig;

use super::run::{self, Plan, Server};
use super::service::{HttpSettings, OnConnect};
use crate::config::Workers;
use crate::worker;

/// actix-web's limit for one of its workers.
const MAX_CONNECTIONS: usize = 25_600;

/// tokio's limit for a runtime, which actix-web divides among its workers.
const BLOCKING_THREADS: usize = 512;

/// An HTTP server whose connections come from the cluster's primary, in place of [`actix_web::HttpServer`].
///
/// Its methods are those of actix-web and do what they do there; the [module's page](super) lists what
/// differs. It belongs to a worker: every worker process runs the same code, binds to the same addresses, and
/// is given its share of the connections.
///
/// ```no_run
/// use actix_web::{App, web};
/// use cluster::actix::HttpServer;
///
/// # async fn serve() -> std::io::Result<()> {
/// HttpServer::new(|| App::new().route("/", web::get().to(async || "Hello!")))
///     .bind(("127.0.0.1", 8000))?
///     .run()
///     .await
/// # }
/// ```
#[must_use = "a server does nothing before `run()`"]
pub struct HttpServer<F, I, S, B>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig>,
    S::Error: Into<actix_web::Error>,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>>,
    B: MessageBody,
{
    pub(super) factory: F,
    pub(super) plan: Plan,
    pub(super) backlog: u32,
    pub(super) on_connect: Option<OnConnect>,
    types: PhantomData<fn() -> (S, B)>,
}

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
    /// A server of the applications that `factory` makes: one for each listener in each thread.
    pub fn new(factory: F) -> Self {
        let parallelism = Workers::Cpus.count();
        let settings = worker::settings();
        let plan = Plan {
            recipes: Vec::new(),
            http: HttpSettings::default(),
            threads: settings.threads,
            max_blocking_threads: (BLOCKING_THREADS / parallelism).max(1),
            max_connections: settings.max_connections.unwrap_or(MAX_CONNECTIONS),
            shutdown_timeout: None,
            shutdown_signal: None,
            system_exit: false,
        };
        HttpServer { factory, plan, backlog: 1024, on_connect: None, types: PhantomData }
    }

    /// The number of serving threads **in this process**. The default is the cluster's `threads`, which is 1
    /// unless set; the cluster's `workers` are processes and multiply it.
    ///
    /// # Panics
    ///
    /// If `num` is 0.
    pub fn workers(mut self, num: usize) -> Self {
        assert_ne!(num, 0, "HttpServer::workers(0): a server needs at least one thread");
        self.plan.threads = num;
        self
    }

    /// How long an idle connection is kept for another request, or not at all. The default is 5 seconds.
    pub fn keep_alive<T: Into<KeepAlive>>(mut self, val: T) -> Self {
        self.plan.http.keep_alive = val.into();
        self
    }

    /// Sets `TCP_NODELAY` on every connection. By default it is left as the operating system has it.
    pub fn tcp_nodelay(mut self, enabled: bool) -> Self {
        self.plan.http.tcp_nodelay = Some(enabled);
        self
    }

    /// The number of connections that the kernel queues for a listener, in the primary. The default is 1024.
    ///
    /// Works on what is bound after it. Where several workers ask for the same address, the first one's counts.
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// The number of connections that this server has open at once **in this process**, over all its
    /// threads. More of them wait in the backlog or go to other workers. The default is the cluster's
    /// `max_connections`, else 25 600; above the cluster's it has no effect.
    pub fn max_connections(mut self, num: usize) -> Self {
        self.plan.max_connections = worker::settings().max_connections.map_or(num, |limit| limit.min(num));
        self
    }

    /// The number of TLS handshakes that a thread has in progress at once. The default is 256.
    ///
    /// A setting of the whole process, for threads that start after it. Without a TLS feature it does nothing.
    pub fn max_connection_rate(self, num: usize) -> Self {
        #[cfg(any(feature = "rustls-0_23", feature = "openssl"))]
        actix_tls::accept::max_concurrent_tls_connect(num);
        #[cfg(not(any(feature = "rustls-0_23", feature = "openssl")))]
        let _ = num;
        self
    }

    /// The number of threads for blocking tasks that each serving thread may start. The default is 512
    /// divided by the number of processors.
    pub fn worker_max_blocking_threads(mut self, num: usize) -> Self {
        self.plan.max_blocking_threads = num;
        self
    }

    /// How long a client may take to send the head of a request before it is answered with 408; zero means
    /// no limit. The default is 5 seconds.
    pub fn client_request_timeout(mut self, dur: Duration) -> Self {
        self.plan.http.client_request_timeout = dur;
        self
    }

    /// The former name of [`client_request_timeout`](Self::client_request_timeout).
    #[doc(hidden)]
    #[deprecated(note = "renamed to `client_request_timeout`")]
    pub fn client_timeout(self, dur: Duration) -> Self {
        self.client_request_timeout(dur)
    }

    /// How long closing a connection may take before it is dropped; zero means no limit. The default is
    /// 1 second.
    pub fn client_disconnect_timeout(mut self, dur: Duration) -> Self {
        self.plan.http.client_disconnect_timeout = dur;
        self
    }

    /// The former name of [`client_disconnect_timeout`](Self::client_disconnect_timeout), in milliseconds.
    #[doc(hidden)]
    #[deprecated(note = "renamed to `client_disconnect_timeout`")]
    pub fn client_shutdown(self, dur: u64) -> Self {
        self.client_disconnect_timeout(Duration::from_millis(dur))
    }

    /// How long a TLS handshake may take. The default is 3 seconds.
    #[cfg(any(feature = "rustls-0_23", feature = "openssl"))]
    pub fn tls_handshake_timeout(mut self, dur: Duration) -> Self {
        self.plan.http.tls_handshake_timeout = dur;
        self
    }

    /// Whether an HTTP/1 client may close its sending side and still be answered. The default is `true`.
    pub fn h1_allow_half_closed(mut self, allow: bool) -> Self {
        self.plan.http.h1_allow_half_closed = allow;
        self
    }

    /// The size in bytes at which the buffer of an HTTP/1 response is flushed. The default is 32 KiB.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    pub fn h1_write_buffer_size(mut self, size: usize) -> Self {
        assert_ne!(size, 0, "HttpServer::h1_write_buffer_size(0): the buffer needs at least one byte");
        self.plan.http.h1_write_buffer_size = Some(size);
        self
    }

    /// The initial flow-control window of an HTTP/2 stream, in bytes. The default is 1 MiB.
    pub fn h2_initial_window_size(mut self, size: u32) -> Self {
        self.plan.http.h2_initial_window_size = Some(size);
        self
    }

    /// The initial flow-control window of an HTTP/2 connection, in bytes. The default is 2 MiB.
    pub fn h2_initial_connection_window_size(mut self, size: u32) -> Self {
        self.plan.http.h2_initial_connection_window_size = Some(size);
        self
    }

    /// Sets a function to call once for every connection, before its first request, with the stream and a
    /// container whose content requests find in `conn_data`.
    ///
    /// Works on what is bound after it. The stream is an [`actix_web::rt::net::TcpStream`], for a Unix socket an
    /// [`actix_web::rt::net::UnixStream`], and for TLS the `TlsStream<TcpStream>` of the module of
    /// `actix_tls::accept` that is named like the library.
    pub fn on_connect<CB>(mut self, f: CB) -> HttpServer<F, I, S, B>
    where
        CB: Fn(&dyn Any, &mut Extensions) + Send + Sync + 'static,
    {
        self.on_connect = Some(Arc::new(f));
        self
    }

    /// The host name with which applications make URLs. The default is the address of the listener.
    pub fn server_hostname<T: AsRef<str>>(mut self, val: T) -> Self {
        self.plan.http.host = Some(val.as_ref().to_owned());
        self
    }

    /// Stops the actix `System` in which the server was run when it has ended. Without one it does nothing.
    pub fn system_exit(mut self) -> Self {
        self.plan.system_exit = true;
        self
    }

    /// Does not apply: this server never handles signals. In a cluster they are the primary's, and a worker
    /// is told to drain through its channel.
    pub fn disable_signals(self) -> Self {
        self
    }

    /// Drains this server when the future ends. The other workers go on, and so does this process.
    ///
    /// The future runs in the server's first thread. Unlike in actix-web it does not change the handling of
    /// signals.
    pub fn shutdown_signal<Fut>(mut self, shutdown_signal: Fut) -> Self
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.plan.shutdown_signal = Some(Box::pin(shutdown_signal));
        self
    }

    /// How long a drain may take, in seconds, before the connections that are still open are dropped. Where it is
    /// not set, 30 when only this server is stopped; when the whole worker drains, the cluster's `drain_timeout`,
    /// which also counts where it is shorter.
    pub fn shutdown_timeout(mut self, sec: u64) -> Self {
        self.plan.shutdown_timeout = Some(Duration::from_secs(sec));
        self
    }

    /// The addresses it is bound to, with the ports that were chosen where 0 was asked for. As in actix-web, a
    /// Unix socket is listed as `127.0.0.1:8080`.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.plan.recipes.iter().map(|recipe| recipe.site().address()).collect()
    }

    /// The same with `"http"` or `"https"` for each.
    pub fn addrs_with_scheme(&self) -> Vec<(SocketAddr, &str)> {
        let sites = self.plan.recipes.iter().map(|recipe| recipe.site());
        sites.map(|site| (site.address(), site.scheme())).collect()
    }
}

impl<F, I, S, B> HttpServer<F, I, S, B>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig>,
    S::Error: Into<actix_web::Error>,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>>,
    S::Service: 'static,
    B: MessageBody,
{
    /// Starts the serving threads. The worker counts as listening when one of them has built its
    /// applications.
    ///
    /// Inside an actix `System` the threads are arbiters of it. Outside, they need no runtime around them.
    ///
    /// # Panics
    ///
    /// If nothing was bound.
    pub fn run(self) -> Server {
        assert!(
            !self.plan.recipes.is_empty(),
            "HttpServer::run(): bind() to an address, or listen(), before it"
        );
        run::start(self.plan)
    }
}
