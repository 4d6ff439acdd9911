//! Shows what is promised, by one command: `cargo run --release -p cluster-tests --example nothing_lost`.
//!
//! Real clusters are reloaded, upgraded, given broken programs and killed, under every kind of client; the independent judge
//! (`judge/`) puts each request in one class. A table says what came of it; the status is 0 only if every promise holds.

mod arguments;

use std::any::Any;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{env, panic};

use arguments::{Arguments, HELP};
use cluster_tests::claims::{self, Claim, FALLEN, RELOADS, UNFIT};

/// A promise: its name, and how it is tried.
type Promise = (&'static str, fn(&Arguments) -> Claim);

const PROMISES: [Promise; 11] = [
    ("reloads", |n| claims::reloads(n.reloads, n.time)),
    ("upgrades", |n| claims::upgrades(n.upgrades, n.time)),
    ("scaling", |n| claims::scalings(n.reloads / 2, n.time)),
    ("wear", |n| claims::worn(20, n.time)),
    ("unfit", |n| claims::broken_deploys("upgrades to programs that are not fit", &UNFIT, n.time)),
    ("fallen", |n| claims::broken_deploys("upgrades to programs that fail in its place", &FALLEN, n.time)),
    ("configurations", |n| claims::broken_reloads(&RELOADS, n.time)),
    ("kills", |n| claims::kills(n.kills, n.time)),
    ("storm", |n| claims::kills_meanwhile(n.kills, n.time)),
    ("primary", |_| claims::primary_killed(3)),
    ("control", |_| claims::control(3)),
];

/// The programs that they are tried with.
const TRIED: [&str; 4] = ["judged", "judged_next", "broken", "reopens"];

fn main() -> ExitCode {
    let arguments = match Arguments::read(&PROMISES.map(|(name, _)| name)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("nothing_lost: {error}; see --help");
            return ExitCode::from(2);
        }
    };
    build();
    let began = Instant::now();
    let mut rows = Vec::new();
    let mut told = Vec::new();
    let mut requests = 0;
    let mut holds = true;
    for (name, attempt) in PROMISES.into_iter().filter(|(name, _)| arguments.wants(name)) {
        eprintln!("{name} …");
        match panic::catch_unwind(|| attempt(&arguments)) {
            Ok(claim) => {
                requests += claim.verdict.requests();
                holds &= claim.holds();
                if arguments.is_verbose || !claim.holds() {
                    eprintln!("{}\n", claim.verdict);
                }
                rows.push(claim.to_string());
                told.extend(claim.told);
            }
            Err(why) => {
                holds = false;
                rows.push(format!("| {name} | **broken**: {} |", first_line(&*why)));
            }
        }
    }
    println!("{}\n{}", Claim::head(), rows.join("\n"));
    if !told.is_empty() {
        println!("\n| broken deploy | requests meanwhile | connections harmed | what the cluster told |");
        println!("| --- | ---: | ---: | --- |");
    }
    for row in told {
        // What a program has said last goes on for some lines.
        let told = row.told.split(": it said: ").next().unwrap_or_default();
        println!("| {} | {} | {} | {told} |", row.deploy, row.requests, row.harmed);
    }
    let end = if holds { "every promise holds" } else { "NOT every promise holds" };
    println!("\n{requests} requests were judged in {:.0} s: {end}.", began.elapsed().as_secs_f64());
    ExitCode::from(u8::from(!holds))
}

/// Builds the programs, as this one was built, beside it: cargo does not for an example. It is named too, so
/// that all is built with the same features, which is once.
fn build() {
    let own = env::current_exe().expect("the path of this program");
    // TARGET/PROFILE/examples/nothing_lost
    let profile = own.parent().and_then(Path::parent).expect("cargo has put it there");
    let name = profile.file_name().and_then(|name| name.to_str()).expect("the profile's folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--package", "cluster-tests", "--example", "nothing_lost"]);
    cargo.args(TRIED.into_iter().flat_map(|name| ["--bin", name]));
    cargo.args(["--profile", if name == "debug" { "dev" } else { name }]);
    // What cargo tells this program of itself would make some packages build anew.
    let told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in env::vars().filter(|(name, _)| told(name)) {
        cargo.env_remove(name);
    }
    cargo.arg("--target-dir").arg(profile.parent().expect("the target folder"));
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("start cargo");
    assert!(built.success(), "cargo could not build the programs that are tried");
}

/// What a panic said, without the story that follows; that was printed.
fn first_line(why: &(dyn Any + Send)) -> String {
    let text = why.downcast_ref::<String>().map(String::as_str).or(why.downcast_ref::<&str>().copied());
    text.and_then(|text| text.lines().next()).unwrap_or("it panicked").to_owned()
}
