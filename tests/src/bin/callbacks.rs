//! What callbacks may do, and what they may not: TEST_CALLBACK says which.

use std::time::Duration;

use cluster::{Primary, SendError, Signal, Worker};
use cluster_tests::announce;

fn setup(primary: &mut Primary) {
    announce::events(primary);
    primary
        .on_message(|worker: Worker, text: String| println!("primary heard {} {}", worker.id(), text.len()));
    match std::env::var("TEST_CALLBACK").as_deref() {
        Ok("panic") => primary.on_online(|_| panic!("a bug in a callback")),
        Ok("hook") => {
            std::panic::set_hook(Box::new(|_| std::process::exit(42)));
            primary.on_online(|_| panic!("what the hook makes of it"));
        }
        Ok("thread") => primary.on_disconnect(|_| drop(std::thread::spawn(std::thread::park))),
        Ok("fork") => primary.on_exit(|_, exit| {
            if !exit.exited_after_disconnect() {
                println!("forked {}", cluster::fork().id());
            }
        }),
        Ok("clock") => {
            primary.after(Duration::from_millis(5), || println!("after"));
            let mut times = 0;
            primary.every(Duration::from_millis(5), move || {
                times += 1;
                println!("every {times}");
            });
            primary.on_signal(Signal::USR1, || println!("signal for {}", cluster::workers().len()));
            primary.on_signal(Signal::TERM, cluster::disconnect);
        }
        _ => {}
    }
}

#[cluster::main(primary = setup)]
async fn main() {
    let worker = cluster::worker();
    worker.ready();
    assert!(matches!(worker.send("x".repeat(17 << 20)), Err(SendError::TooLarge { .. })));
    worker.send("x".repeat(15 << 20)).expect("one that is just not too large");
    while worker.messages::<String>().recv().await.is_some() {}
}
