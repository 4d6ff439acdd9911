//! A large table, built once and shared by all workers, copy-on-write.
//!
//! Run: `cargo run --release --example preload`, or `… --example preload 1000` for 1000 MB.
//! Try: `curl 127.0.0.1:8000/42`; compare RSS, which counts the table in every worker, with PSS, which divides it.

use std::sync::OnceLock;
use std::time::Instant;

use actix_web::{App, HttpServer, web};

static TABLE: OnceLock<Vec<u64>> = OnceLock::new();

/// Runs in the nursery, from which the workers are forked.
fn build() -> Result<(), String> {
    let megabytes = std::env::args().nth(1).unwrap_or_else(|| "200".to_owned());
    let megabytes: usize =
        megabytes.parse().map_err(|_| format!("{megabytes:?} is no number of megabytes"))?;
    let start = Instant::now();
    let table =
        TABLE.get_or_init(|| (0..megabytes as u64 * 131_072).map(|n| n.wrapping_mul(n) ^ n >> 7).collect());
    println!("{megabytes} MB, {} entries, built once in {:.0?}", table.len(), start.elapsed());
    Ok(())
}

async fn look_up(n: web::Path<usize>) -> Option<String> {
    let value = TABLE.get()?.get(*n)?;
    Some(format!("{n}: {value}, from worker {}\n", cluster::worker().id()))
}

#[cluster::main(preload = build, on_listening = listening)]
async fn main() -> std::io::Result<()> {
    let app = || App::new().route("/{n}", web::get().to(look_up));
    HttpServer::new(app).bind(("127.0.0.1", 8000))?.run().await
}

/// Runs in the primary.
fn listening(worker: cluster::Worker, _: cluster::Address) {
    let memory = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", worker.pid())).unwrap_or_default();
    let megabytes = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.map_or("?".to_owned(), |kilobytes| (kilobytes / 1024).to_string())
    };
    println!("worker {}: RSS {} MB, PSS {} MB", worker.id(), megabytes("Rss:"), megabytes("Pss:"));
}
