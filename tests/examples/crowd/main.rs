//! Shows what open connections cost: `cargo run --release -p cluster-tests --example crowd -- [CONNECTIONS] [WORKERS]`.
//!
//! So many clients, 100 000 by default, connect to one cluster and stay. They are spread over processes, and these over addresses
//! of their own, since an address has no more than some ten thousand ports. Then each asks once, and then the cluster is told to
//! stop while all of them are there. The status is 0 only if each worker had exactly its share, everybody was answered, and the
//! primary has kept nothing of any of them.

mod client;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{env, io};

use client::Clients;
use cluster_tests::{Cluster, Signal, Story, process};

/// How many clients a process has at most: for each address the kernel soon finds a free port in half of its range, 14 000, and the
/// others only after a long search.
const MOST: usize = 12_000;

/// Descriptors that a process needs for itself.
const OWN: usize = 100;

/// What the primary may have more of, however many there are.
const MEMORY: u64 = 128 * 1024;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [word, from, count, address] = &arguments[..]
        && word == client::WORD
    {
        client::run(from, count.parse().expect("a number of connections"), address)?;
        return Ok(ExitCode::SUCCESS);
    }
    let number = |nth: usize, default| arguments.get(nth).map_or(Ok(default), |word| word.parse());
    let (Ok(wanted), Ok(workers)) = (number(0, 100_000), number(1, 8_usize)) else {
        eprintln!("crowd: two numbers: how many connections, and how many workers");
        return Ok(ExitCode::from(2));
    };
    build();
    let limit = usize::try_from(process::raise_descriptors()).unwrap_or(usize::MAX).saturating_sub(OWN);
    // A worker takes none any more when it is near its limit.
    let share = (wanted / workers).min(limit - limit / 8);
    let count = share * workers;
    if count < wanted {
        println!("{count} connections, and not {wanted}: a process may have {limit} descriptors");
    }
    Ok(ExitCode::from(u8::from(!crowd(count, workers, MOST.min(limit)))))
}

/// Whether all of it holds.
fn crowd(count: usize, workers: usize, most: usize) -> bool {
    let mut cluster = Cluster::start("net_echo", workers);
    let (address, primary) = (cluster.up(workers), cluster.pid());
    // What it needs at all, it has from now on.
    Clients::start(1, 1000.min(count), most, &address).end();
    let (memory, open) = (process::own_memory(primary), process::descriptors(primary).len());
    let (began, worked) = (Instant::now(), process::processor_time(primary));
    let mut clients = Clients::start(2, count, most, &address);
    let by_worker = clients.connected();
    let (took, worked) = (began.elapsed(), process::processor_time(primary) - worked);
    let more = process::own_memory(primary).saturating_sub(memory);
    let left = process::descriptors(primary).len().abs_diff(open);
    println!(
        "{count} connections to {workers} workers in {took:.1?}; the primary has worked for {worked:.1?}"
    );
    println!("each worker has: {:?}", by_worker.values().collect::<Vec<_>>());
    println!("the primary has {more} bytes and {left} descriptors more than before");
    let began = Instant::now();
    let answered = clients.ask();
    println!("{answered} answers in {:.1?}", began.elapsed());
    cluster.signal(Signal::TERM);
    cluster.logged("SIGTERM: stopping");
    let began = Instant::now();
    clients.end();
    let all = |story: &Story| (story.exits().count() == workers).then(|| began.elapsed());
    let took = cluster.until("the workers to end", all);
    let story = cluster.ends(0);
    let ended = story.exits().filter(|exit| exit.code == Some(0) && exit.voluntary).count();
    println!("{ended} workers ended within {took:.1?} of SIGTERM, as their clients went");
    let exact = by_worker.len() == workers && by_worker.values().all(|share| *share == count / workers);
    let holds = exact && more <= MEMORY && left == 0 && answered == count && ended == workers;
    println!("{}", if holds { "it holds" } else { "it does NOT hold" });
    holds
}

/// By worker.
type Shares = BTreeMap<u64, usize>;

/// Builds the server, as this program was built, beside it: cargo does not for an example.
fn build() {
    let own = env::current_exe().expect("the path of this program");
    let profile = own.parent().and_then(Path::parent).expect("cargo has put it there");
    let name = profile.file_name().and_then(|name| name.to_str()).expect("the profile's folder");
    let mut cargo = Command::new(env!("CARGO"));
    // This one too, so that all is built with the same features, which is once.
    cargo.args(["build", "--package", "cluster-tests", "--example", "crowd", "--bin", "net_echo"]);
    cargo.args(["--profile", if name == "debug" { "dev" } else { name }]);
    let told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in env::vars().filter(|(name, _)| told(name)) {
        cargo.env_remove(name);
    }
    cargo.arg("--target-dir").arg(profile.parent().expect("the target folder"));
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("start cargo");
    assert!(built.success(), "cargo could not build the server");
}
