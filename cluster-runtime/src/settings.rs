//! The settings in force, for whoever asks.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::config::{Overload, Policy, Restart, Settings};

/// Set when a cluster starts, in one thread, and with its children from then on.
static IN_FORCE: Mutex<Option<Settings>> = Mutex::new(None);

pub(crate) fn put_in_force(settings: &Settings) {
    *IN_FORCE.lock().unwrap_or_else(PoisonError::into_inner) = Some(settings.clone());
}

/// The settings in force, in the primary and in each worker: those of the builder or the attribute, after the environment
/// has had its say. The defaults where no cluster was started yet. Node: `cluster.settings`.
pub fn settings() -> Settings {
    IN_FORCE.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
}

impl Settings {
    /// Those that matter while the cluster runs.
    pub(crate) fn in_a_line(&self) -> String {
        let Settings { threads, spawn, output, restart, policy, overload, .. } = self;
        let words = format!(
            "spawn {spawn:?}, output {output:?}, restart {restart:?}, policy {policy:?}, overload {overload:?}"
        );
        format!(
            "{} workers, {threads} threads each, {}, startup_timeout {:?}, drain_timeout {:?}, max_surge {}",
            self.workers.count(),
            words.to_lowercase(),
            self.startup_timeout,
            self.drain_timeout,
            self.max_surge
        )
    }

    /// How many workers the cluster starts; 0 unclustered.
    pub fn workers(&self) -> usize {
        self.workers.count()
    }

    /// Serving threads of each worker. See [`Cluster::threads`](crate::Cluster::threads).
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// See [`Cluster::restart`](crate::Cluster::restart).
    pub fn restart(&self) -> Restart {
        self.restart
    }

    /// See [`Cluster::restart_window`](crate::Cluster::restart_window).
    pub fn restart_window(&self) -> Duration {
        self.restart_window
    }

    /// See [`Cluster::startup_timeout`](crate::Cluster::startup_timeout).
    pub fn startup_timeout(&self) -> Duration {
        self.startup_timeout
    }

    /// See [`Cluster::drain_timeout`](crate::Cluster::drain_timeout).
    pub fn drain_timeout(&self) -> Duration {
        self.drain_timeout
    }

    /// See [`Cluster::heartbeat_timeout`](crate::Cluster::heartbeat_timeout).
    pub fn heartbeat_timeout(&self) -> Duration {
        self.heartbeat_timeout
    }

    /// See [`Cluster::pre_drain`](crate::Cluster::pre_drain).
    pub fn pre_drain(&self) -> Duration {
        self.pre_drain
    }

    /// See [`Cluster::max_requests`](crate::Cluster::max_requests).
    pub fn max_requests(&self) -> Option<u64> {
        self.max_requests
    }

    /// See [`Cluster::max_memory`](crate::Cluster::max_memory); in bytes.
    pub fn max_memory(&self) -> Option<u64> {
        self.max_memory
    }

    /// See [`Cluster::max_age`](crate::Cluster::max_age).
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// See [`Cluster::max_connections`](crate::Cluster::max_connections); `None` is the server's own.
    pub fn max_connections(&self) -> Option<usize> {
        self.max_connections
    }

    /// See [`Cluster::policy`](crate::Cluster::policy).
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// See [`Cluster::overload`](crate::Cluster::overload).
    pub fn overload(&self) -> Overload {
        self.overload
    }
}
