//! Primary and workers send each other TEST_COUNT large messages at once; each side prints when it has all.

use std::env;

use cluster_tests::announce;

const SIZE: usize = 256 * 1024;

fn count() -> usize {
    env::var("TEST_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(1)
}

fn flood(primary: &mut cluster::Primary) {
    announce::events(primary);
    primary.on_online(|worker| {
        (0..count()).for_each(|n| worker.send((n, "p".repeat(SIZE))).expect("send to a worker"));
    });
    let mut heard = 0;
    primary.on_message(move |_: cluster::Worker, (_, body): (usize, String)| {
        assert!(body.len() == SIZE && body.bytes().all(|byte| byte == b'w'), "a torn message");
        heard += 1;
        println!("primary heard {heard}");
    });
}

#[cluster::main(primary = flood)]
async fn main() {
    let worker = cluster::worker();
    worker.ready();
    (0..count()).for_each(|n| worker.send((n, "w".repeat(SIZE))).expect("send to the primary"));
    let mut messages = worker.messages::<(usize, String)>();
    for n in 0..count() {
        let (number, body) = messages.recv().await.expect("one message more");
        assert!(number == n && body.len() == SIZE, "torn or out of order: {number}");
    }
    println!("worker {} heard all", worker.id());
    cluster::shutdown_signal().await;
}
