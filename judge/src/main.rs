//! The judge on the command line: asks for a while, prints the table, and ends with 1 if anything was bad.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{io, thread};

use cluster_judge::{Address, Plan};
use lexopt::prelude::*;

const HELP: &str = "\
cluster-judge --url http://127.0.0.1:8000 [--seconds 30]

Asks a server in all the ways in which clients ask, and judges every answer.

  --url URL           whom to ask, such as http://127.0.0.1:8000; may be given more than once
  --unix PATH         the same over a Unix socket
  --seconds N         how long (30)
  --clients CREW      only these clients, such as keep-alive=8@300ms: kind, how many, longest pause;
                      may be given more than once. Kinds: one-shot, preconnect, keep-alive,
                      pipelined, slow-answer, upload, download, half-close, websocket
  --body BYTES        size of the bodies of uploads and downloads (1048576)
  --timeout SECONDS   how long a request may take (10)
  --seed N            where pauses and orders come from (1)
  --may-stop          the server may be stopped meanwhile: then it may refuse, but never open again
  --may-race          raced requests are counted, and are no fault

Ends with 0: clean. 1: something was bad, or nothing was served. 2: the judge could not work.
";

fn main() -> ExitCode {
    match read_arguments().map_err(|error| error.to_string()) {
        Ok(Some((plan, time))) => judge(plan, time).unwrap_or_else(|error| {
            eprintln!("cluster-judge: start the clients: {error}");
            ExitCode::from(2)
        }),
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cluster-judge: {error}; see cluster-judge --help");
            ExitCode::from(2)
        }
    }
}

fn read_arguments() -> Result<Option<(Plan, Duration)>, lexopt::Error> {
    let mut plan = Plan::on([]);
    let mut crews = Vec::new();
    let mut seconds = 30;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("url") => plan.addresses.push(arguments.value()?.parse()?),
            Long("unix") => plan.addresses.push(Address::Unix(arguments.value()?.into())),
            Long("seconds") => seconds = arguments.value()?.parse()?,
            Long("clients") => crews.push(arguments.value()?.parse()?),
            Long("body") => plan.body = arguments.value()?.parse()?,
            Long("timeout") => plan.timeout = Duration::from_secs(arguments.value()?.parse()?),
            Long("seed") => plan.seed = arguments.value()?.parse()?,
            Long("may-stop") => plan.may_stop = true,
            Long("may-race") => plan.may_race = true,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    if plan.addresses.is_empty() {
        return Err("whom to ask? give --url or --unix".into());
    }
    if plan.timeout.is_zero() {
        return Err("no request can be answered in --timeout 0".into());
    }
    if !crews.is_empty() {
        plan.crews = crews;
    }
    Ok(Some((plan, Duration::from_secs(seconds))))
}

fn judge(plan: Plan, time: Duration) -> io::Result<ExitCode> {
    eprintln!("seed {}", plan.seed);
    let end = Instant::now() + time;
    let trial = plan.begin()?;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        thread::sleep(left.min(Duration::from_secs(1)));
        eprintln!("{}", trial.verdict().progress());
    }
    let verdict = trial.stop();
    println!("{verdict}");
    Ok(ExitCode::from(u8::from(!verdict.is_clean())))
}
