//! Three workers talk to each other, and the last one may not read: TEST_TALK says.

use cluster::{Primary, RelayError, SendError};
use cluster_tests::announce;

fn setup(primary: &mut Primary) {
    announce::events(primary);
    let mut ready = 0;
    primary.on_message(move |_, (): ()| {
        ready += 1;
        if ready == cluster::workers().len() {
            println!("not told: {:?}", cluster::broadcast("begin"));
        }
    });
}

#[cluster::main(workers = 3, primary = setup, runtime = "multi_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (worker, deaf) = (cluster::worker(), std::env::var("TEST_TALK").is_ok_and(|talk| talk == "deaf"));
    let mut messages = worker.messages::<String>();
    worker.ready();
    worker.send(())?;
    while let Some(text) = messages.recv().await.filter(|_| !deaf || worker.slot() != 2) {
        println!("slot {} heard {text}", worker.slot());
        if (text.as_str(), worker.slot()) != ("begin", 0) {
            continue;
        }
        let mut has_room = deaf;
        while has_room {
            let told = worker.send_to(2, "x".repeat(1 << 20))?.await;
            has_room = told.is_ok();
            if told == Err(RelayError::Lost(vec![(2, SendError::Full)])) {
                println!("slot 2 is full");
            }
        }
        println!("broadcast: {:?}", worker.broadcast("to others")?.await);
        println!("to 1: {:?}", worker.send_to(1, "to 1")?.await);
        println!("to 0: {:?}", worker.send_to(0, "to 0")?.await);
        println!("to 7: {:?}", worker.send_to(7, "to 7")?.await);
        drop(worker.send_to(8, "nobody waits to hear that it is lost")?);
    }
    cluster::shutdown_signal().await;
    Ok(())
}
