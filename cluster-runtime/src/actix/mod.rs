//! actix-web in the workers of a cluster (feature `actix`).
//!
//! [`HttpServer`] takes the place of [`actix_web::HttpServer`]. In `main` under `#[cluster::main]` it does so
//! by itself; elsewhere, import it from here. Behind it is actix's own HTTP stack: applications, middleware,
//! extractors, TLS, HTTP/2 and WebSockets work unchanged.
//!
//! Every public method of actix-web's is here and does what it does there, but for this:
//!
//! | Method, property | Here |
//! |---|---|
//! | `workers` | Serving threads of this worker process; by default the cluster's `threads`, 1 |
//! | `bind…`, `bind_uds` | The primary binds, once for all workers; its errors come back as they are |
//! | `listen…` | The socket goes to the primary, which accepts for all workers |
//! | `backlog` | Of the primary's listening socket; the first worker that binds decides |
//! | `max_connections` | For the process, over its threads; not above the cluster's `max_connections` |
//! | `on_connect` | Also for `bind_uds`, where actix-web leaves it out |
//! | `bind_auto_h2c` | A client that sends nothing is closed after `client_request_timeout` |
//! | `disable_signals` | Does not apply: the server handles no signals, the primary does |
//! | `shutdown_signal` | Drains this server of this worker only; it does not touch signals either |
//! | `shutdown_timeout` | When the whole worker drains, not beyond the cluster's `drain_timeout`, which alone counts where nothing is set here |
//! | `run` | The threads run from here on, not from the first poll; no runtime is needed around it |
//! | `bind_rustls`, `bind_rustls_021`, `bind_rustls_0_22`, `listen_rustls`, `listen_rustls_0_21`, `listen_rustls_0_22` | Not here: use Rustls 0.23 |
//! | Features | `rustls-0_23` and `openssl` of this crate, not only of actix-web, bring the methods that need them |
//! | A thread that panics outside of a connection | Ends the server with an error after the others have drained, for the worker to be replaced; actix-web starts a new thread |
//!
//! # TLS sessions
//!
//! A session that begins with one worker goes on with another only if both have the same ticket keys. Make the
//! `ServerConfig` once, in [`preload`](crate::Cluster::preload), with a `ticketer`, and clone it in `main`. Rustls's reads
//! no ticket that is longer than those that it wrote, so let it write one there: `config.ticketer.encrypt(&[0; 4096])`.
//! After six hours each worker makes new keys, of its own.
//!
//! # Drain
//!
//! A server drains when its worker does (a stop, a reload), when [`ServerHandle::stop`] asks for it, and when
//! its `shutdown_signal` ends:
//!
//! - Every connection that was handed to this worker is served; it takes no more.
//! - Requests in progress finish. Every response says `Connection: close` from the beginning of the drain.
//! - A connection without a request, fresh or kept alive, may begin one for another quarter of a second, so
//!   that a client which is just sending is answered and not reset. Then it is closed.
//! - WebSockets and other streams run to their own end, or to the deadline.
//! - So do HTTP/2 connections: actix's HTTP/2 has no way to tell its clients that a server leaves.
//! - At the deadline, the shorter of `shutdown_timeout` and the cluster's `drain_timeout`, what is left is
//!   dropped.
//!
//! The server has ended when its last connection has: a drain takes no longer than it has to.

mod bind;
mod drain;
mod eager;
mod run;
mod server;
mod service;
mod thread;
mod transport;

pub use run::{Server, ServerHandle};
pub use server::HttpServer;
