//! `serve` with preload, which fails if TEST_HOW says so.

use std::env;

use cluster_tests::{announce, serve};

fn preload() -> Result<(), String> {
    println!("preload in {}", std::process::id());
    match env::var("TEST_HOW").as_deref() {
        Ok("error") => Err("the model file is missing".to_owned()),
        Ok("panic") => panic!("a bug in preload"),
        Ok("exit") => std::process::exit(9),
        Ok(file) if std::path::Path::new(file).exists() => Err(format!("{file} is in the way")),
        _ => Ok(()),
    }
}

#[cluster::main(primary = announce::life, preload = preload)]
async fn main() -> std::io::Result<()> {
    serve::all().await
}
