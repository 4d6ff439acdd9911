//! One worker that talks to the primary: many messages one way, then questions, one after the other. Prints how long it took.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster::{Primary, SendError, ThisWorker, Worker};
use cluster_bench::told;
use serde::{Deserialize, Serialize};

const WITHIN: Duration = Duration::from_secs(60);

#[derive(Deserialize, Serialize)]
struct Word {
    id: u64,
    size: f64,
    last: bool,
}

fn setup(primary: &mut Primary) {
    let heard = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&heard);
    primary.on_message(move |_: Worker, word: Word| {
        count.fetch_add(u64::from(word.size > 0.0), Ordering::Relaxed);
    });
    primary.on_ask(move |_, word: Word| (word.id, heard.load(Ordering::Relaxed)));
}

#[cluster::main(workers = 1, primary = setup, runtime = "multi_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // On a thread of the runtime: the main one is another's guest in `block_on`.
    tokio::spawn(talk(cluster::worker())).await??;
    cluster::worker().disconnect();
    Ok(())
}

async fn talk(worker: ThisWorker) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (messages, questions) = (told::<u64>("MESSAGES"), told::<u64>("QUESTIONS"));
    worker.ready();
    let start = Instant::now();
    for id in 0..messages {
        while worker.send(Word { id, size: 1.5, last: false }) == Err(SendError::Full) {
            worker.flushed().await?;
        }
    }
    let (_, heard) = worker.ask::<_, (u64, u64)>(Word { id: 0, size: 0.0, last: true }, WITHIN).await?;
    println!("sent {heard} {}", start.elapsed().as_nanos());

    let mut times = Vec::new();
    for id in 0..questions {
        let start = Instant::now();
        let (answer, _) = worker.ask::<_, (u64, u64)>(Word { id, size: 0.0, last: false }, WITHIN).await?;
        assert_eq!(answer, id);
        times.push(start.elapsed().as_nanos());
    }
    times.sort_unstable();
    println!("asked {} {}", times[times.len() / 2], times[times.len() * 99 / 100]);
    Ok(())
}
