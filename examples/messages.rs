// How fast messages are, each way, and questions. Beside it, the same with Node's cluster:
//
//     cargo run --release --example messages
//     node examples/messages.mjs

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster::{Primary, SendError, ThisWorker, Worker};
use serde::{Deserialize, Serialize};

const MESSAGES: u64 = 1_000_000;
const QUESTIONS: usize = 20_000;
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Deserialize, Serialize)]
enum Ask {
    HowMany,
    Flood,
    Ping(u64),
}

fn setup(primary: &mut Primary) {
    let (received, to_send) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (heard, left) = (Arc::clone(&received), Arc::clone(&to_send));
    primary.on_message(move |_: Worker, _: u64| {
        heard.fetch_add(1, Ordering::Relaxed);
    });
    primary.on_ask(move |_, question| match question {
        Ask::HowMany => received.load(Ordering::Relaxed),
        Ask::Flood => to_send.swap(MESSAGES, Ordering::Relaxed),
        Ask::Ping(n) => n,
    });
    // A callback is to be short: a part at a time, and no more than the worker keeps up with.
    primary.every(Duration::from_millis(1), move || {
        let Some(worker) = cluster::workers().pop() else { return };
        for _ in 0..20_000 {
            let n = left.load(Ordering::Relaxed);
            if n == 0 || worker.backlog() > 1 << 20 || worker.send(n).is_err() {
                break;
            }
            left.store(n - 1, Ordering::Relaxed);
        }
    });
}

#[cluster::main(workers = 1, primary = setup, runtime = "multi_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let worker = cluster::worker();
    worker.ready();

    let start = Instant::now();
    for n in 0..MESSAGES {
        while worker.send(n) == Err(SendError::Full) {
            worker.flushed().await?;
        }
    }
    assert_eq!(worker.ask::<_, u64>(Ask::HowMany, WITHIN).await?, MESSAGES);
    rate("worker to primary", start);

    let mut messages = worker.messages::<u64>();
    let start = Instant::now();
    worker.ask::<_, u64>(Ask::Flood, WITHIN).await?;
    for _ in 0..MESSAGES {
        messages.recv().await.ok_or("the primary ended early")?;
    }
    rate("primary to worker", start);

    // On a thread of the runtime: the main one is another's guest in `block_on`.
    tokio::spawn(questions(worker)).await??;
    worker.disconnect();
    Ok(())
}

fn rate(what: &str, start: Instant) {
    println!("{what}: {:.0} messages a second", MESSAGES as f64 / start.elapsed().as_secs_f64());
}

async fn questions(worker: ThisWorker) -> Result<(), cluster::AskError> {
    let mut times = Vec::new();
    for n in 0..QUESTIONS as u64 {
        let start = Instant::now();
        assert_eq!(worker.ask::<_, u64>(Ask::Ping(n), WITHIN).await?, n);
        times.push(start.elapsed());
    }
    times.sort();
    println!("question and answer: median {:?}, p99 {:?}", times[QUESTIONS / 2], times[QUESTIONS / 100 * 99]);
    Ok(())
}
