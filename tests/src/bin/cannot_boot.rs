//! The workers with the ids of TEST_DIES (`2 3 5-`: from 5 on all) die before they are ready, as TEST_HOW says.

use std::env;

use cluster_tests::{announce, serve};

fn dies(id: u64) -> bool {
    let ids = env::var("TEST_DIES").unwrap_or("1-".to_owned());
    ids.split(' ').any(|word| match word.strip_suffix('-') {
        Some(first) => first.parse().is_ok_and(|first: u64| first <= id),
        None => word.parse() == Ok(id),
    })
}

#[cluster::main(primary = announce::life)]
async fn main() -> std::io::Result<()> {
    if !dies(cluster::worker().id()) {
        return serve::all().await;
    }
    match env::var("TEST_HOW").as_deref().unwrap_or("1") {
        "error" => Err(std::io::Error::other("the database is closed")),
        "panic" => panic!("a bug at boot"),
        "abort" => std::process::abort(),
        "return" => Ok(()),
        code => std::process::exit(code.parse().expect("TEST_HOW is a way or a code")),
    }
}
