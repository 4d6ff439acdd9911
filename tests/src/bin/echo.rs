//! The primary sends back what it gets; the worker compares. And what looks like the cluster's own words is a message.

use cluster::{Coded, Primary, Worker};
use cluster_tests::announce;
use cluster_tests::messages::{Backwards, Lookalike, Shout};

fn setup(primary: &mut Primary) {
    announce::events(primary);
    primary.on_online(|worker| worker.send("first word").expect("greet"));
    primary.on_message(|worker: Worker, text: String| worker.send(text).expect("echo"));
    primary.on_message(|worker: Worker, shout: Shout| worker.send(shout.text.to_uppercase()).expect("echo"));
    primary.on_message(|worker: Worker, coded: Coded<Backwards, (u8, String)>| {
        worker.send(coded.into_inner().1).expect("echo");
    });
    primary.on_message(|worker: Worker, word: Lookalike| worker.send(format!("{word:?}")).expect("echo"));
}

#[cluster::main(workers = 1, primary = setup)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let worker = cluster::worker();
    worker.ready();
    let mut messages = worker.messages::<String>();
    println!("the first is {:?}", messages.recv().await);
    let mut second = worker.messages::<String>();
    let text = "ä€😀".repeat(400_000 / 3);
    let large = ["a", "b", "c", "d"].map(|letter| letter.repeat(8 << 20));
    for sent in large.iter().chain([&text]) {
        worker.send(sent)?;
        worker.flushed().await?;
    }
    for expected in large.iter().chain([&text]) {
        assert!(messages.recv().await.as_ref() == Some(expected), "torn, or out of order");
        assert!(second.recv().await.as_ref() == Some(expected), "each reader gets each message");
    }
    worker.send(Shout { text: "quiet".into() })?;
    worker.send(Coded::<Backwards, _>::new((1u8, "coded")))?;
    worker.send(Lookalike::Leave { voluntary: true })?;
    for _ in 0..3 {
        println!("echo {:?}", messages.recv().await);
    }
    cluster::shutdown_signal().await;
    Ok(())
}
