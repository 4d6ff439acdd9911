//! In a fixture's workers: questions and answers.

use std::future::Future;
use std::process;
use std::time::Duration;

use ::cluster::ThisWorker;
use serde::{Deserialize, Deserializer, Serialize};

const HOUR: Duration = Duration::from_secs(3600);

/// Whoever reads it panics.
#[derive(Debug, Serialize)]
pub struct Bomb;

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("a bug in a Deserialize")
    }
}

/// Asks the primary each kind of question, and prints what comes of it.
///
/// # Panics
/// On any other answer than the right one.
pub async fn ask(worker: ThisWorker) {
    println!("double is {:?}", worker.ask::<_, u64>(21u64, HOUR).await);
    println!("panic is {:?}", worker.ask::<_, u64>((), HOUR).await);
    println!("unread is {:?}", worker.ask::<_, u64>("text", HOUR).await.map_err(|error| error.to_string()));
    println!("other type is {:?}", worker.ask::<_, String>(1u64, HOUR).await.is_err());
}

/// A thousand questions at once, and two thousand more that are given up, asked or not.
///
/// # Panics
/// If any of the thousand has not its own answer.
pub async fn storm(worker: ThisWorker) {
    let mut asked = Vec::new();
    for n in 0..1000u64 {
        asked.push(tokio::spawn(worker.ask::<_, u64>(n, HOUR)));
        tokio::spawn(worker.ask::<_, u64>(n, HOUR)).abort();
        // Polled once, so it was sent.
        let mut dropped = Box::pin(worker.ask::<_, u64>(n + 1_000_000, HOUR));
        std::future::poll_fn(|cx| {
            drop(dropped.as_mut().poll(cx));
            std::task::Poll::Ready(())
        })
        .await;
    }
    for (n, answer) in asked.into_iter().enumerate() {
        let answer = answer.await.expect("a task that ends").expect("an answer");
        assert_eq!(answer, 2 * n as u64, "another one's answer");
    }
    println!("storm over");
}

/// Answers what the primary asks.
///
/// # Panics
/// When an answer can't be sent.
pub async fn answer(worker: ThisWorker) {
    let mut questions = worker.questions::<String>();
    let mut kept = Vec::new();
    while let Some(question) = questions.recv().await {
        match question.message().as_str() {
            "name" => question.answer(format!("worker {}", worker.id())).expect("answer"),
            "later" => kept.push(question),
            "die" if worker.id() == 1 => process::exit(7),
            _ => {}
        }
    }
}
