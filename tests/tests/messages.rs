//! Messages between the primary and its workers.

use cluster_tests::client::ask;
use cluster_tests::{Cluster, Event};

/// Mutation: give `on_message` the newest worker instead of the sender.
#[test]
fn n38_messages_flow_both_ways() {
    let mut cluster = Cluster::start("serve", 3);
    let address = cluster.up(3);
    for _ in 0..3 {
        let sender = ask(&address, "/say/hello").worker();
        cluster.until("the message, from the right worker", |story| {
            let from_it = |event: &Event| {
                matches!(event, Event::Message { id, body } if *id == sender && body == "Say(\"hello\")")
            };
            story.events().any(from_it).then_some(())
        });
    }
    for id in 1..=3 {
        ask(&address, &format!("/tell/{id}/hello-{id}"));
        cluster.said(&format!("heard {id} hello-{id}"));
    }
    let story = cluster.stop();
    assert!(!story.said("heard 1 hello-2"), "only the addressee hears it: {story}");
    for id in 1..=3 {
        assert!(story.said(&format!("heard {id} the end")), "a drain ends the messages: {story}");
    }
}

/// Mutation: write to the channel with a blocking socket, or stop reading while there is something to write.
#[test]
fn n54_both_sides_may_send_at_once() {
    // 16 MiB each way for each worker: far more than any socket's buffer.
    let mut cluster = Cluster::of("flood").workers(2).env("TEST_COUNT", 64).start();
    cluster.said("worker 1 heard all");
    cluster.said("worker 2 heard all");
    cluster.said("primary heard 128");
    cluster.stop();
}

/// R10, R13, R16, R18 and N73 as well: four of 8 MiB and 400 000 characters, each flushed; look-alikes of the cluster's
/// own words; two readers.
///
/// Mutation: lose what is sent before the worker reads; tell user and cluster apart by what a body reads as.
#[test]
fn n77_n73_r10_r13_r16_r18_every_message_comes_back_from_the_first_word_on() {
    let mut cluster = Cluster::of("echo").start();
    cluster.said("the first is Some(\"first word\")");
    cluster.said("echo Some(\"QUIET\")");
    cluster.said("echo Some(\"coded\")");
    cluster.said("echo Some(\"Leave { voluntary: true }\")");
    let story = cluster.stop();
    assert!(!story.log().any(|line| line.contains("error")), "{story}");
}
