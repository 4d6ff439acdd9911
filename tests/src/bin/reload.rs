//! Serves, but for the generations in TEST_GENERATIONS (`2 4`), whose workers in the slots of TEST_SLOTS (all) do
//! something else, as TEST_HOW says.

use std::{env, process, thread};

use cluster_tests::{announce, serve};

fn is_listed(variable: &str, number: u64) -> bool {
    let all = env::var(variable).unwrap_or(number.to_string());
    all.split(' ').any(|word| word.parse() == Ok(number))
}

#[cluster::main(primary = announce::life)]
async fn main() -> std::io::Result<()> {
    let worker = cluster::worker();
    if !is_listed("TEST_GENERATIONS", worker.generation()) || !is_listed("TEST_SLOTS", worker.slot() as u64) {
        return serve::all().await;
    }
    println!("worker {} is of generation {}", worker.id(), worker.generation());
    match env::var("TEST_HOW").as_deref().unwrap_or("serve") {
        "serve" => serve::all().await,
        "late" => {
            worker.messages::<String>().recv().await;
            serve::all().await
        }
        "error" => Err(std::io::Error::other("the new configuration is wrong")),
        "panic" => panic!("a bug in the new code"),
        "abort" => process::abort(),
        "bind" => {
            let path = env::var("TEST_BIND").expect("a socket's path").replace("unix:", "");
            let _again = cluster::net::UnixListener::bind(&path).await?;
            let _new = cluster::net::UnixListener::bind(path + ".new").await?;
            process::exit(7)
        }
        "fall" if worker.slot() == 0 => {
            worker.ready();
            process::exit(3)
        }
        "hang" | "fall" => loop {
            thread::park();
        },
        code => process::exit(code.parse().expect("TEST_HOW is a way or a code")),
    }
}
