//! What the frameworks' fixtures and tests share.

pub mod grpc;
pub mod stop;

use std::env;

use tokio::signal::unix::{SignalKind, signal};

/// The address that a fixture binds.
#[must_use]
pub fn address() -> String {
    env::var("TEST_BIND").unwrap_or("127.0.0.1:0".to_owned())
}

/// What ends a fixture's server: `shutdown_signal`; with `TEST_OWN_SIGNAL` SIGTERM itself, as in programs without a cluster.
///
/// # Panics
/// When there can be no handler for it.
pub fn end() -> impl Future<Output = ()> + Send + 'static {
    // From now on, not from the first poll.
    let own = env::var_os("TEST_OWN_SIGNAL").map(|_| signal(SignalKind::terminate()).expect("a handler"));
    async move {
        match own {
            Some(mut own) => drop(own.recv().await),
            None => cluster::shutdown_signal().await,
        }
    }
}
