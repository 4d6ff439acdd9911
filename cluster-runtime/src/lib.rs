//! Node's `cluster` for Rust: annotate `main`, and the program becomes a primary that owns the sockets and a set of
//! worker processes that serve. Linux only.
//!
#![cfg_attr(all(feature = "actix", feature = "macros"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "actix", feature = "macros")), doc = "```ignore")]
//! use actix_web::{App, HttpServer, Responder, web};
//!
//! async fn hello() -> impl Responder {
//!     format!("Hello from worker {} (pid {})\n", cluster::worker().id(), std::process::id())
//! }
//!
//! #[cluster::main(workers = "cpus", on_exit = goodbye)] // was: #[actix_web::main]. That is the whole change.
//! async fn main() -> std::io::Result<()> {
//!     HttpServer::new(|| App::new().route("/", web::get().to(hello))).bind(("127.0.0.1", 8000))?.run().await
//! }
//!
//! fn goodbye(worker: cluster::Worker, exit: cluster::Exit) {
//!     println!("worker {} (pid {}) died: {exit}", worker.id(), worker.pid());
//! }
//! ```
//!
//! The arguments are on the page of [`main`](macro@main). What it writes a person can write by hand: [`Cluster`]. The
//! server, and in what it differs from actix-web's, is on the page of `cluster::actix` (feature `actix`). Sockets for any other
//! server, shaped like tokio's, are in [`net`].
//!
//! # Processes
//!
//! ```text
//!            clients
//!               │ connect
//!     ┌─────────▼──────────┐  lane: accepted connections   ┌──────────────────────┐
//!     │ primary            │ ────────────────────────────▶ │ worker (slot 0)      │
//!     │ one thread,        │ ◀───────────────────────────▶ │ body of main, its    │
//!     │ no async runtime   │  channel: messages both ways  │ runtime, its threads │
//!     │ listens, accepts,  │                               └──────────────────────┘
//!     │ hands off, watches │ ────────────────────────────▶ ┌──────────────────────┐
//!     │ runs the callbacks │ ◀───────────────────────────▶ │ worker (slot 1)      │
//!     └────────────────────┘                               └──────────────────────┘
//! ```
//!
//! The primary is the process that was started. It accepts each connection, gives it to the workers in turn (exact
//! round robin) and closes its own copy: it never reads a byte of it. A worker is a fork of the primary, made before any
//! thread or runtime exists, and builds its runtime afterwards. What is in a `static` or in memory is each worker's own,
//! but for what [`preload`](Cluster::preload) built, which all share until somebody writes to it.
//!
//! A worker that dies is replaced in its slot; connections which it had not read yet go to others. One that dies again and
//! again before it has served is replaced later and later, and in the end the cluster gives up. A first generation that
//! can't start ends the program with its error and status.
//!
//! # Signals
//!
//! | to the primary | |
//! | --- | --- |
//! | SIGTERM, SIGINT | Stop gracefully: workers finish what they have, within [`drain_timeout`](Cluster::drain_timeout), after [`pre_drain`](Cluster::pre_drain), where there is one. The second one: as SIGQUIT, with its own number; in `pre_drain`, it begins the drain |
//! | SIGQUIT | Stop now: workers are killed; the status is 128 + 3 |
//! | SIGHUP | Reload: new workers, each beside an old one, which finishes what it has as soon as the new one is ready. If one of them fails the old ones serve on; see [`reload`] |
//! | SIGUSR2 | Upgrade in place: the program that is now on disk takes over this process, its sockets and its workers, which are replaced as in a reload. If it is not fit the one before goes on; see [`upgrade`] |
//! | SIGTTIN, SIGTTOU | One worker more, one worker less; see [`scale`] |
//! | SIGUSR1 | Print what goes on: [`status`] |
//! | any other | What the kernel does, unless [`Primary::on_signal`] says otherwise |
//! | SIGKILL | Workers notice, finish within a second, and exit |
//!
//! A worker that gets a SIGTERM finishes what it has and is replaced; SIGINT it passes over, since Ctrl-C reaches the
//! primary too. In a worker, a program may install handlers of its own.
//!
//! # Events
//!
//! In the primary, for each worker, in this order:
//!
//! | event | when | [`Worker::state`] then |
//! | --- | --- | --- |
//! | `fork` | its process was made | [`None`](State::None) |
//! | `online` | its code runs, as it says itself | [`Online`](State::Online) |
//! | `listening` | it takes connections; once for each address | [`Listening`](State::Listening) |
//! | `message` | any time between `online` and `disconnect` | |
//! | – | it is told to finish, by whomever | [`Disconnecting`](State::Disconnecting) |
//! | `disconnect` | its channel is closed: nothing more will be heard of it | [`Disconnected`](State::Disconnected) |
//! | `exit` | its process has ended and is reaped | [`Dead`](State::Dead) |
//!
//! `fork`, `disconnect` and `exit` come exactly once for each process that there was; a worker that dies early, or is told
//! to finish, leaves out what it did not get to, and its state never goes back. The replacement's `fork` comes after the
//! `exit`. A worker's [own callbacks](Worker::on_exit) come before those for all.
//!
//! Messages come in the order in which they were sent, and before the `disconnect` and the `exit` of a worker that dies:
//! all that it sent, if it ended by `main`'s return, a panic or [`std::process::exit`]; all that the socket had taken, if
//! it was killed or aborted. Nothing comes after the `exit`.
//!
//! Whether the end was voluntary ([`Worker::exited_after_disconnect`]) is known at the `disconnect` and the `exit`, whoever
//! began it: [`Worker::disconnect`], [`ThisWorker::disconnect`], or the cluster's stop. `disconnect` and `kill` may be
//! called in any state and as often as one likes; what a callback asks for is done when it has returned, before anything
//! else that has happened meanwhile is looked at.
//!
//! A worker sees its own end as [`ThisWorker::disconnected`], and as the end of its [messages](ThisWorker::messages).
//!
//! # Environment
//!
//! At start, over attribute and builder: `CLUSTER_WORKERS`, `CLUSTER_THREADS`, `CLUSTER_RUNTIME`, `CLUSTER_SPAWN`, `CLUSTER_CWD`,
//! `CLUSTER_OUTPUT`, `CLUSTER_USER`, `CLUSTER_GROUP`, `CLUSTER_RESTART`, `CLUSTER_MAX_RESTARTS`, `CLUSTER_RESTART_WINDOW`,
//! `CLUSTER_STARTUP_TIMEOUT`, `CLUSTER_DRAIN_TIMEOUT`, `CLUSTER_MAX_CONNECTIONS`, `CLUSTER_MAX_SURGE`, `CLUSTER_POLICY`, `CLUSTER_OVERLOAD`. A
//! value that can't be read ends the program before anything starts.
//!
//! `CLUSTER_WORKERS=0` runs the body in the process that was started, unclustered, for debuggers and profilers: it
//! binds and accepts by itself, `preload` and the `primary` function run there first, and of the callbacks only
//! `on_message`, `on_message_with` and `on_ask` are ever called. What is said of workers' processes (`spawn`, `env`, `cwd`,
//! `args`, `output`, `user`, `group`) is not done to it.
//!
//! No variable says that a process is a worker, so a program that a worker starts can't take itself for one. Workers do
//! not inherit what a service manager says to the primary (`NOTIFY_SOCKET`, `WATCHDOG_*`, `LISTEN_*`).
//!
//! What the cluster has to say goes to `tracing`, target `cluster`; where the program has set no subscriber, to stderr.
//!
//! # Frameworks
//!
//! Each listens as it always does, on a socket of [`net`] in place of tokio's; `listener` is
//! `cluster::net::TcpListener::bind("127.0.0.1:8000").await?`.
//!
//! | Framework | Feature | |
//! | --- | --- | --- |
//! | actix-web | `actix` | `HttpServer::new(app).bind(address)?.run().await` |
//! | axum | `axum` | `axum::serve(listener, app).with_graceful_shutdown(cluster::shutdown_signal()).await` |
//! | poem | `poem` | `Server::new(listener).run_with_graceful_shutdown(app, cluster::shutdown_signal(), None).await` |
//! | tonic | `tonic` | `server.serve_with_incoming_shutdown(listener.into_incoming(), cluster::shutdown_signal()).await` |
//! | hyper | – | a loop over `listener.accept()` until [`shutdown_signal()`], then hyper-util's `GracefulShutdown`: the example `hyper` |
//! | any other | – | if it takes a tokio stream: as hyper |
//!
//! What they are told to finish by has to be [`shutdown_signal()`], which comes when nothing is on its way to this worker
//! any more. A signal handler of their own comes too early, and loses connections.
//!
//! # Node's words
//!
//! | Node | here | in |
//! | --- | --- | --- |
//! | `cluster.isPrimary`, `cluster.isWorker` | [`is_primary()`], [`is_worker()`] | both |
//! | `cluster.settings` | [`settings()`] | both |
//! | `cluster.fork()` | [`fork()`]; `workers` of them by itself | primary |
//! | `cluster.fork(env)` | [`fork_with()`] with [`Fork::env`] | primary |
//! | `exec`, `args`, `execArgv`, `cwd` of `setupPrimary` | always this program; [`Cluster::args`], [`Cluster::cwd`], or of one worker [`Fork::args`], [`Fork::cwd`] | primary |
//! | `silent`, `stdio` | [`Cluster::output`] | primary |
//! | `worker.process.stdout.on('data')`, `stderr` | [`Primary::on_output`] | primary |
//! | `uid`, `gid` | [`Cluster::user`], [`Cluster::group`] | primary |
//! | `cluster.workers`, `cluster.workers[id]` | [`workers()`], [`get(id)`](get) | primary |
//! | `cluster.disconnect()` | [`disconnect()`] | primary |
//! | `cluster.on('fork')`, `'online'`, `'listening'`, `'message'`, `'disconnect'`, `'exit'` | `on_fork`, … of [`Cluster`] and [`Primary`] | primary |
//! | `worker.on('online')`, `'listening'`, `'message'`, `'disconnect'`, `'exit'` | [`Worker::on_online`], [`on_listening`](Worker::on_listening), [`on_message`](Worker::on_message), [`on_disconnect`](Worker::on_disconnect), [`on_exit`](Worker::on_exit) | primary |
//! | `code`, `signal` of `'exit'` | [`Exit::code`], [`Exit::signal`] | primary |
//! | `worker.id`, `worker.process.pid`, `worker.state` | [`Worker::id`], [`Worker::pid`], [`Worker::state`] | primary |
//! | `worker.send()`; with a handle | [`Worker::send`]; [`Worker::send_with`] | primary |
//! | `send()` to each of `cluster.workers` | [`broadcast()`] | primary |
//! | – | [`Worker::ask`], [`Primary::on_ask`]; [`Coded`] for another format | primary |
//! | `worker.disconnect()`, `worker.process.kill()` | [`Worker::disconnect`], [`Worker::kill`] | primary |
//! | `worker.isConnected()`, `worker.isDead()` | [`Worker::is_connected`], [`Worker::is_dead`] | primary |
//! | `worker.exitedAfterDisconnect` | [`Worker::exited_after_disconnect`], [`Exit::exited_after_disconnect`] | primary |
//! | `process.on('SIGTERM')`, `setTimeout`, `setInterval` | [`Primary::on_signal`], [`Primary::after`], [`Primary::every`] | primary |
//! | `cluster.worker` | [`worker()`] | worker |
//! | `process.send()`, `process.on('message')` | [`ThisWorker::send`], [`ThisWorker::messages`] | worker |
//! | the same with a handle | [`ThisWorker::send_with`], [`Messages::recv_with`] | worker |
//! | `send()` that returns `false`; its callback | [`SendError::Full`], [`ThisWorker::backlog`]; [`ThisWorker::flushed`] | both; worker |
//! | – | [`ThisWorker::ask`], [`ThisWorker::questions`], [`ThisWorker::broadcast`], [`ThisWorker::send_to`] | worker |
//! | `cluster.worker.disconnect()`, `.on('disconnect')`, `.isConnected()` | [`ThisWorker::disconnect`], [`disconnected`](ThisWorker::disconnected), [`is_connected`](ThisWorker::is_connected) | worker |
//! | `server.dropMaxConnection` | [`Overload::Refuse`] | both |
//! | `server.listen()`, `server.close()` | `bind`, `run` of `cluster::actix::HttpServer`; `stop` of its handle | worker |
//! | `net.Server`: `server.listen()`, `server.close()` | [`net::TcpListener`], [`net::UnixListener`]: `bind`, drop | worker |
//! | `listen({ fd })`, `exclusive`, `reusePort`, `backlog`, `ipv6Only`, `readableAll` | `inherited`, [`net::ListenOptions`] | worker |
//! | – | `activated`: [`net::TcpListener::activated`] | worker |
//! | – | [`ThisWorker::is_stopping`] | worker |
//! | `dgram.Socket` | [`net::UdpSocket`] | worker |
//!
//! Unlike Node, the cluster replaces a worker that dies: [`Restart::Never`] turns that off. And the primary stops by
//! itself at SIGTERM, with its workers.
//!
//! # Non-features
//!
//! - Other systems than Linux.
//! - State shared between workers: use messages, or a database.
//! - Not built yet: the policies `shared` and `reuseport`.
//! - HTTP/2 connections of actix-web can't be told that a server leaves (it has no GOAWAY for it): they run to their own end, or to
//!   the end of the drain.

#[cfg(not(target_os = "linux"))]
compile_error!("cluster runs on Linux only: it lives by SCM_RIGHTS, pidfds and signalfd");

#[cfg(feature = "actix")]
pub mod actix;
mod alone;
#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod bench;
mod board;
mod cluster;
mod config;
mod end;
mod error;
mod event;
mod fit;
mod fork;
mod ipc;
mod jitter;
mod load;
pub mod net;
#[cfg(feature = "poem")]
pub mod poem;
mod policy;
mod primary;
mod race;
mod reload;
mod report;
mod role;
mod settings;
mod sys;
#[cfg(feature = "tonic")]
pub mod tonic;
mod upgrade;
mod worker;

pub use self::cluster::{Cluster, Preloaded, Role};
pub use self::config::{Output, Overload, Policy, Restart, Runtime, Settings, Spawn, Workers};
pub use self::end::End;
pub use self::error::{AskError, RelayError, SendError, SendWithError};
pub use self::event::{Address, Exit, Reason, Signal, State};
pub use self::fork::Fork;
pub use self::ipc::codec::{Codec, Coded, MessagePack};
#[cfg(fuzzing)]
pub use self::ipc::fuzz;
pub use self::load::Load;
pub use self::policy::{Candidate, Choice};
pub use self::primary::ask::Asked;
pub use self::primary::callback::Primary;
pub use self::primary::desk::{
    Worker, broadcast, disconnect, fork, fork_with, get, last_reload, last_upgrade, reload, scale, upgrade,
    workers,
};
pub use self::primary::lines::{Line, Stream};
pub use self::primary::status::{LastChange, ReloadStatus, Status, WorkerStatus, status};
pub use self::reload::{Reload, ReloadFailure};
pub use self::role::{is_primary, is_worker};
pub use self::settings::settings;
pub use self::upgrade::{Upgrade, UpgradeFailure};
pub use self::worker::inbox::Messages;
pub use self::worker::question::{Answering, Question, Questions};
pub use self::worker::say::Relayed;
pub use self::worker::{ThisWorker, shutdown_signal, worker};
#[cfg(feature = "macros")]
pub use cluster_macros::main;
