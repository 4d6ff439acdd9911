//! Node's `cluster` for Rust.

#[cfg(not(target_os = "linux"))]
compile_error!("cluster runs on Linux only: it lives by SCM_RIGHTS, pidfds and signalfd");

#[cfg(feature = "actix")]
pub mod actix;
mod cluster;
mod config;
mod error;
mod event;
mod ipc;
mod primary;
#[cfg(feature = "actix")]
mod race;
mod report;
mod role;
mod sys;
// Serving is for frameworks, and each is a feature: without any, nobody asks a worker for a socket or a lane.
#[cfg_attr(not(feature = "actix"), allow(dead_code))]
mod worker;

pub use self::cluster::{Cluster, End, Preloaded, Role};
pub use self::config::{Restart, Runtime, Workers};
pub use self::error::SendError;
pub use self::event::{Address, Exit, Reason, Signal, State};
pub use self::primary::callback::Primary;
pub use self::primary::desk::{Worker, disconnect, fork, get, workers};
pub use self::role::{is_primary, is_worker};
pub use self::worker::inbox::Messages;
pub use self::worker::{ThisWorker, shutdown_signal, worker};
#[cfg(feature = "macros")]
pub use cluster_macros::main;
