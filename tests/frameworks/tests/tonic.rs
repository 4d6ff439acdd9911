//! tonic in workers.

use std::collections::BTreeSet;

use cluster_framework_tests::grpc::{Client, Text};
use cluster_framework_tests::stop;
use cluster_tests::{Cluster, Signal};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

fn number(text: &str, name: &str) -> u64 {
    let mut words = text.split(' ').skip_while(|word| *word != name);
    words.nth(1).and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("which {name}? {text:?}"))
}

/// A conversation, and who serves it.
async fn chat(client: &mut Client) -> (UnboundedSender<Text>, Streaming<Text>, u64) {
    let (sender, receiver) = unbounded_channel();
    let mut replies = client.chat(UnboundedReceiverStream::new(receiver)).await.expect("a stream");
    let first = replies.message().await.expect("the first").expect("a message");
    (sender, replies, number(&first.text, "worker"))
}

async fn exchange(sender: &UnboundedSender<Text>, replies: &mut Streaming<Text>, text: &str) {
    sender.send(text.to_owned().into()).expect("the call is open");
    let reply = replies.message().await.expect("a reply").expect("a message");
    assert_eq!(reply.text, text);
}

/// Mutation: give every connection to the first worker; tell tonic no address.
#[test]
fn tonic_serves_calls_of_each_kind_and_knows_who_connects() {
    let mut cluster = Cluster::start("tonic", 2);
    let address = cluster.up(2);
    runtime().block_on(async {
        let (mut workers, mut ports) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..2 {
            let mut client = Client::to(&address).await.expect("connect");
            let reply = client.who().await.expect("a unary call");
            workers.insert(number(&reply, "worker"));
            ports.insert(number(&reply, "client"));

            let mut numbers = client.count(3).await.expect("a stream");
            for n in 1..=3 {
                let message = numbers.message().await.expect("a number").expect("a message");
                assert_eq!(message.text, n.to_string());
            }
            assert_eq!(numbers.message().await.expect("the end"), None);

            let (sender, mut replies, worker) = chat(&mut client).await;
            assert_eq!(worker, number(&reply, "worker"), "all calls of a client are one connection's");
            exchange(&sender, &mut replies, "hello").await;
            drop(sender);
            assert_eq!(replies.message().await.expect("the end"), None);
        }
        assert_eq!(workers, BTreeSet::from([1, 2]));
        assert!(ports.len() == 2 && !ports.contains(&0), "{ports:?}");
    });
    cluster.stop();
}

/// Mutation: end the worker at its drain.
#[test]
fn p50_a_stream_of_tonic_ends_at_its_own_end_and_clients_are_told_to_go() {
    let mut cluster = Cluster::start("tonic", 2);
    let address = cluster.up(2);
    let runtime = runtime();
    let mut client = runtime.block_on(Client::to(&address)).expect("connect");
    let (sender, mut replies, _) = runtime.block_on(chat(&mut client));
    cluster.signal(Signal::TERM);
    // After its GOAWAY the client connects anew for the next call, and nobody listens.
    cluster.eventually("the client to be told", || {
        let again = runtime.block_on(client.who());
        again.is_err_and(|status: Status| status.code() == Code::Unavailable)
    });
    runtime.block_on(async {
        exchange(&sender, &mut replies, "meanwhile").await;
        drop(sender);
        assert_eq!(replies.message().await.expect("the end"), None);
    });
    cluster.ends(0);
}

/// Connects while the workers are stopped, and then has all of them end: how the calls ended.
fn calls_of_who_is_queued(mut cluster: Cluster) -> Vec<Result<String, Status>> {
    const QUEUED: usize = 300;
    let address = cluster.up(2);
    stop::both(&mut cluster, Signal::STOP);
    let runtime = runtime();
    let mut calls = JoinSet::new();
    for _ in 0..QUEUED {
        let mut client = runtime.block_on(Client::to(&address)).expect("connect");
        calls.spawn_on(async move { client.who().await }, runtime.handle());
    }
    stop::stop(&mut cluster);
    let outcomes = runtime.block_on(calls.join_all());
    cluster.ends(0);
    outcomes
}

/// Mutation: resolve `shutdown_signal` when the drain begins, without the last call.
#[test]
fn p42_tonic_answers_what_is_queued() {
    let outcomes = calls_of_who_is_queued(Cluster::of("tonic").workers(2).start());
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

/// The control: a server that hears SIGTERM by itself stops too early.
#[test]
fn p42_control_tonic_with_a_signal_of_its_own_loses_what_is_queued() {
    let mut cluster = Cluster::of("tonic").workers(2).env("TEST_OWN_SIGNAL", 1).start();
    cluster.expect_log("no worker was left to serve them");
    let outcomes = calls_of_who_is_queued(cluster);
    assert!(outcomes.iter().any(Result::is_err), "{outcomes:?}");
}
