//! Questions both ways: TEST_ASK says which.

use std::time::Duration;

use cluster::{AskError, Primary, Worker};
use cluster_tests::{announce, questions};

const HOUR: Duration = Duration::from_secs(3600);

fn setup(primary: &mut Primary) {
    announce::events(primary);
    primary.on_ask(|worker: Worker, n: u64| {
        if n == 21 {
            let tell = |name: Result<String, AskError>| println!("it says {name:?}");
            worker.ask("name", HOUR, tell);
        }
        n * 2
    });
    primary.on_ask(|worker: Worker, (): ()| -> u64 { panic!("no answer for {}", worker.id()) });
    primary.on_message(|_: Worker, _: questions::Bomb| {});
    primary.on_online(|worker| {
        let asked = worker.clone();
        let tell = move |answer: Result<String, AskError>| println!("{} says {answer:?}", asked.id());
        worker.ask("name", HOUR, tell.clone());
        worker.ask("nothing", HOUR, tell.clone());
        worker.ask("later", Duration::from_millis(50), tell.clone());
        worker.ask(5u8, HOUR, tell.clone());
        worker.ask("cancelled", Duration::ZERO, tell.clone()).cancel();
        if std::env::var("TEST_ASK").is_ok_and(|what| what == "storm") {
            worker.ask("die", HOUR, tell);
        }
    });
}

#[cluster::main(primary = setup, runtime = "multi_thread")]
async fn main() {
    let worker = cluster::worker();
    worker.ready();
    tokio::spawn(questions::answer(worker));
    match std::env::var("TEST_ASK").as_deref() {
        Ok("storm") => questions::storm(worker).await,
        Ok("bomb") => worker.send(questions::Bomb).expect("send a bomb"),
        _ => questions::ask(worker).await,
    }
    cluster::shutdown_signal().await;
}
