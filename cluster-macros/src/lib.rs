//! The attribute `#[cluster::main]`. Use it through the package `cluster-runtime`, whose library is named `cluster`.

mod args;
mod born;
mod expand;
mod listen;
mod policy;
mod swap;
mod values;

/// Turns `main` into a cluster: the process that was started becomes the primary, and the body runs in its workers.
///
/// ```ignore
/// use actix_web::{App, HttpServer, web};
///
/// #[cluster::main(workers = "cpus", on_exit = goodbye)]
/// async fn main() -> std::io::Result<()> {
///     HttpServer::new(|| App::new().route("/", web::get().to(async || "hello")))
///         .bind(("127.0.0.1", 8000))?
///         .run()
///         .await
/// }
///
/// fn goodbye(worker: cluster::Worker, exit: cluster::Exit) {
///     println!("worker {} (pid {}) died: {exit}", worker.id(), worker.pid());
/// }
/// ```
///
/// stands for
///
/// ```ignore
/// fn main() -> std::io::Result<()> {
///     #[allow(unused_imports)]
///     use HttpServer as _; // keeps the import above from being reported as unused
///     #[allow(clippy::future_not_send, clippy::unused_async)]
///     async fn main() -> std::io::Result<()> {
///         use ::cluster::actix::HttpServer;
///         /* the body */
///     }
///     match ::cluster::Cluster::new().workers(::cluster::Workers::Cpus).on_exit(goodbye).start() {
///         // once, in the process that was started, after the cluster has ended
///         ::cluster::Role::Primary(end) => end.exit(),
///         // once in every worker, right after its birth
///         ::cluster::Role::Worker(worker) => worker.block_on(main()),
///     }
/// }
/// ```
///
/// which `cargo expand` shows, and which a person can write by hand: every argument but `swap` and `crate` is a method of
/// `cluster::Cluster` of the same name.
///
/// `main` takes no arguments and returns whatever it may return in Rust: nothing, a `Result`, an `ExitCode`, `!`. What it
/// returns is the exit status of that worker. The body never runs in the primary, so a `static` that it sets, or a file
/// that it opens, is each worker's own.
///
/// # Arguments
///
/// All may be left out; each may be given once, in any order. Values are checked at compile time. Where a variable is
/// named, the environment decides at start, over the attribute and over the default.
///
/// ## How many, and on what
///
/// | argument | value | meaning | default | environment |
/// | --- | --- | --- | --- | --- |
/// | `workers` | `"cpus"`, or a number from 1 | worker processes. `"cpus"` counts what this process may use: affinity and the cgroup's quota included | `"cpus"` | `CLUSTER_WORKERS`; `0` there runs the body in the process that was started, unclustered, for debuggers and profilers |
/// | `threads` | a number from 1 | threads that serve, in each worker | 1 | `CLUSTER_THREADS` |
/// | `runtime` | `"actix"`, `"current_thread"`, `"multi_thread"`, `"none"` | what runs the body. `"actix"` is an actix system (feature `actix`), as under `#[actix_web::main]`; the next two are tokio's; `"none"` is for a `fn main` that is not `async` | `"actix"` where that feature is on, else `"current_thread"`, or `"multi_thread"` if `threads` is more than 1 | `CLUSTER_RUNTIME` |
/// | `spawn` | `"fork"`, `"exec"` | how a worker comes into being: as a copy of the primary, or as a fresh image of the same program, which runs `main` from its beginning | `"fork"` | `CLUSTER_SPAWN` |
/// | `cwd` | a string | where the workers work | the primary's directory | `CLUSTER_CWD` |
/// | `env` | a list of strings, each `"NAME=value"` | variables of their environment, beside and over the primary's | `[]` | – |
/// | `args` | a list of strings | their arguments, in place of the primary's; they are then started by exec | the primary's own | – |
/// | `output` | `"inherit"`, `"tagged"`, `"captured"`, `"null"` | where what they print goes: where the primary's goes; there as well, line by line and each with its worker's slot and pid; to `on_output` and nowhere else; nowhere | `"inherit"` | `CLUSTER_OUTPUT` |
/// | `user`, `group` | a string: a name, or a number | who they are from their birth on, before any code of the body; the primary stays who it is | who the primary is | `CLUSTER_USER`, `CLUSTER_GROUP` |
/// | `max_connections` | a number from 1 | connections open at once, in each worker process; more go to other workers, or else see `overload` | the server's own: 25 600 with actix | `CLUSTER_MAX_CONNECTIONS` |
/// | `policy` | `"round-robin"`, `"least-connections"`, `"sticky"`, `"shared"`, `"reuseport"`, or a function `fn(&cluster::Choice) -> Option<usize>` | which worker gets the next connection: each in turn; who has the fewest open; the same client address to the same slot; whoever accepts it first, from one listening socket or each slot from its own | `"round-robin"` | `CLUSTER_POLICY` |
/// | `overload` | `"wait"`, `"refuse"` | clients that connect while every worker is full: they wait in the listen backlog, or are closed at once | `"wait"` | `CLUSTER_OVERLOAD` |
///
/// ## Where
///
/// | argument | value | meaning | default |
/// | --- | --- | --- | --- |
/// | `listen` | an address, or several in brackets: `["127.0.0.1:8000", "[::]:80", "unix:/run/app.sock", "udp:0.0.0.0:53"]` | the primary binds these before the first worker is there, and nothing else ever after: a worker that asks for another address is told "permission denied". One that can't be bound ends the program at once | whatever workers ask for |
///
/// ## Life and death of a worker
///
/// Durations are strings of a whole number and a unit: `"250ms"`, `"30s"`, `"1m"`, `"1h"`. Zero is not a duration.
///
/// | argument | value | meaning | default | environment |
/// | --- | --- | --- | --- | --- |
/// | `restart` | `"always"`, `"on-failure"`, `"never"` | when a worker that ended is replaced; none is after an exit that was asked for. `"on-failure"`: only after a non-zero status or a signal | `"always"` | `CLUSTER_RESTART` |
/// | `max_restarts` | a number; 0 gives up at the first unexpected death | this many workers may die within `restart_window` before they have served; one more, and the cluster gives up and ends with an error | five for each worker | `CLUSTER_MAX_RESTARTS` |
/// | `restart_window` | duration | see `max_restarts` | `"60s"` | `CLUSTER_RESTART_WINDOW` |
/// | `startup_timeout` | duration | a worker that is not up by then is killed, and counts as failed | `"60s"` | `CLUSTER_STARTUP_TIMEOUT` |
/// | `drain_timeout` | duration | a worker told to leave finishes what it has; if it has not ended half a second after this, it is killed | `"30s"` | `CLUSTER_DRAIN_TIMEOUT` |
/// | `heartbeat_timeout` | duration, or `"off"` | a serving thread without a sign of life for this long is stalled: its worker is told to leave, killed if it does not, and replaced; after half of it others get what it has not read | `"60s"` | `CLUSTER_HEARTBEAT_TIMEOUT` |
/// | `pre_drain` | duration | the cluster goes on for so long when it is told to stop, that a load balancer may notice first | not at all | `CLUSTER_PRE_DRAIN` |
/// | `max_requests` | a number from 1 | after about so many requests a worker is replaced, new before old | no limit | `CLUSTER_MAX_REQUESTS` |
/// | `max_memory` | a size: `"512MB"`, `"1GiB"` | a worker that has more memory for itself alone is replaced, new before old | no limit | `CLUSTER_MAX_MEMORY` |
/// | `max_age` | duration | a worker that is older is replaced, new before old | no limit | `CLUSTER_MAX_AGE` |
/// | `max_surge` | a number from 1 | new workers that come at once, beside the old ones, in a reload or for workers that are worn | 1 | `CLUSTER_MAX_SURGE` |
///
/// ## Functions
///
/// Each takes the path of a function, and has no variable in the environment. None is set by default.
///
/// | argument | signature | runs | Node's word |
/// | --- | --- | --- | --- |
/// | `primary` | `fn(&mut cluster::Primary)` | once in the primary, before the first fork: callbacks, timers, signals | `if (cluster.isPrimary)` |
/// | `preload` | `fn()`, or returning a `Result<(), E>` | once, in a process of its own of which the workers are forked: what it builds is in all of them, and shared until written to | – |
/// | `on_fork` | `fn(cluster::Worker)` | in the primary, when a worker was forked | `cluster.on('fork')` |
/// | `on_online` | `fn(cluster::Worker)` | in the primary, when it runs | `cluster.on('online')` |
/// | `on_listening` | `fn(cluster::Worker, cluster::Address)` | in the primary, when it takes connections of that address | `cluster.on('listening')` |
/// | `on_message` | `fn(cluster::Worker, M)`, any `M` that serde can deserialize | in the primary, for each message of that type | `cluster.on('message')` |
/// | `on_message_with` | `fn(cluster::Worker, M, Option<OwnedFd>)` | the same, with the descriptor that came with the message | `cluster.on('message')` |
/// | `on_ask` | `fn(cluster::Worker, Q) -> A`, any `Q` and `A` that serde knows | in the primary, for each question of that type; what it returns is the answer | – |
/// | `on_output` | `fn(cluster::Worker, cluster::Line)` | in the primary, for each line that a worker prints, where `output` is `"tagged"` or `"captured"` | `worker.process.stdout.on('data')` |
/// | `on_disconnect` | `fn(cluster::Worker)` | in the primary, when its channel is closed | `cluster.on('disconnect')` |
/// | `on_exit` | `fn(cluster::Worker, cluster::Exit)` | in the primary, when it is dead and reaped | `cluster.on('exit')` |
/// | `on_reload` | `fn(cluster::Reload)` | in the primary, when a reload has succeeded, or has failed and left the old workers where they were | – |
/// | `on_upgrade` | `fn(cluster::Upgrade)` | in the primary of the program that goes on, when an upgrade has succeeded, or has failed and left the program before it in place | – |
///
/// The primary is one thread: a callback that takes long holds up everything else that it does.
///
/// ## What is written
///
/// | argument | value | meaning | default |
/// | --- | --- | --- | --- |
/// | `swap` | `true`, `false` | whether `HttpServer` in the body means the cluster's; see below | `true` where the feature `actix` is on |
/// | `crate` | a path, or a string of one | where the library `cluster` is found, if it was renamed or is re-exported | `::cluster` |
///
/// # `HttpServer`
///
/// A server of actix-web's own would bind its port in every worker, and all but one would find it in use. With the feature
/// `actix`, wherever the body of `main` says `HttpServer`, it means `cluster::actix::HttpServer`, which has the same
/// methods and listens through the primary. This holds
///
/// - for the bare name, imported outside of `main` (`use actix_web::HttpServer`, `use actix_web::*`);
/// - for `use actix_web::HttpServer`, `use actix_web::{App, HttpServer as Server}` and the like inside the body;
/// - for the path `actix_web::HttpServer` in the body;
/// - within macro calls in the body.
///
/// It cannot hold where the name is out of the attribute's sight:
///
/// - under another name given outside of the body: `use actix_web::HttpServer as Server`;
/// - through another name of the crate: `use actix_web as web`, then `web::HttpServer`;
/// - in a function other than `main`.
///
/// There, import `cluster::actix::HttpServer` instead; inside or outside of `main`, that is always right. A type of your
/// own that is named `HttpServer` would be swapped too: say `swap = false`.
#[proc_macro_attribute]
pub fn main(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::expand(args.into(), item.into()).into()
}
