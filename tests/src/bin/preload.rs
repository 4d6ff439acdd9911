//! `serve` with preload, which builds TEST_BUILD megabytes, and fails if TEST_HOW says so.

use std::env;

use cluster_tests::{announce, serve};

fn preload() -> Result<(), String> {
    println!("preload in {}", std::process::id());
    let megabytes: usize = env::var("TEST_BUILD").ok().and_then(|number| number.parse().ok()).unwrap_or(0);
    std::hint::black_box(vec![1u8; megabytes << 20].leak());
    match env::var("TEST_HOW").as_deref() {
        Ok("error") => Err("the model file is missing".to_owned()),
        Ok("panic") => panic!("a bug in preload"),
        Ok("exit") => std::process::exit(9),
        // A file says it, while there is one.
        Ok(file) => match std::fs::read_to_string(file).as_deref() {
            Ok("hang") => loop {
                std::thread::park();
            },
            Ok(why) => Err(why.to_owned()),
            Err(_) => Ok(()),
        },
        _ => Ok(()),
    }
}

#[cluster::main(primary = announce::life, preload = preload)]
async fn main() -> std::io::Result<()> {
    serve::all().await
}
