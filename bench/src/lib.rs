//! What the measured actix servers answer, with the cluster and without: the same code, so that only the cluster is compared.
//!
//! The measuring itself is in the program of the same name; how to run it is in `docs/performance.md`.

use std::env;
use std::str::FromStr;
use std::time::Duration;

use actix_web::{HttpResponse, web};

/// What every server answers to `/`, of whatever make.
pub const HELLO: &str = "Hello, world!\n";

/// The routes: `/`, `/who`, `/block/{ms}` and `/wait/{ms}`.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(async || HttpResponse::Ok().content_type("text/plain").body(HELLO)))
        .route("/who", web::get().to(who))
        .route("/block/{ms}", web::get().to(block))
        .route("/wait/{ms}", web::get().to(wait));
}

/// Who answers: a process and one of its threads.
async fn who() -> String {
    format!("{} {:?}\n", std::process::id(), std::thread::current().id())
}

/// As a request that calls something that blocks: nothing else is served by this thread meanwhile. It sleeps rather than
/// computes, so that the machine's processors are not what is measured.
async fn block(ms: web::Path<u64>) -> &'static str {
    std::thread::sleep(Duration::from_millis(*ms));
    HELLO
}

/// As a request that awaits something: the thread serves others meanwhile.
async fn wait(ms: web::Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(*ms)).await;
    HELLO
}

/// A number that the measuring program has put into the environment.
///
/// # Panics
///
/// Where there is none: fixtures are started by the measuring program only.
pub fn told<T: FromStr>(name: &str) -> T {
    let text = env::var(name).unwrap_or_default();
    text.parse().unwrap_or_else(|_| {
        panic!("{name} is {text:?}: start this by `cargo run --release -p cluster-bench`")
    })
}

/// The monotonic clock in nanoseconds, which is the same for all processes.
pub fn clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// How long an idle connection is kept by every server, of whatever make: longer than it is measured.
pub const KEEP_ALIVE: Duration = Duration::from_secs(300);
