//! Workers that hear that they are to finish, and do not.

use std::future;

use cluster_tests::announce;

#[cluster::main(primary = announce::life)]
async fn main() {
    let mut told = std::pin::pin!(cluster::shutdown_signal());
    let mut waits = false;
    future::poll_fn(|cx| {
        if !std::mem::replace(&mut waits, true) {
            // Whoever waits for the signal has something to finish.
            let _ = told.as_mut().poll(cx);
            cluster::worker().ready();
            println!("body {}", cluster::worker().id());
            return std::task::Poll::Pending;
        }
        told.as_mut().poll(cx)
    })
    .await;
    println!("told {}", cluster::worker().id());
    future::pending().await
}
