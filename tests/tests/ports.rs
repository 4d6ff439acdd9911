//! Whose port it is.

use cluster_tests::client::ask;
use cluster_tests::{Cluster, Event, process};

/// Mutation: bind with SO_REUSEPORT.
#[test]
fn n05_a_second_program_on_the_port_is_told() {
    let mut first = Cluster::start("serve", 2);
    let address = first.up(2);
    let mut second = Cluster::of("serve").workers(2).bind(&address).start();
    second.expect_log("in use");
    // The standard library writes its report in pieces, and a worker may be killed between two of them.
    second.expect_log("Error: ");
    second.expect_log("before it was ready");
    let story = second.ends(1);
    assert!(story.addresses().is_empty(), "{story}");
    assert_eq!(ask(&address, "/").status, 200);
    first.stop();
}

/// Mutation: let the second listener of an address be the first one; leave a descriptor or a signal mask behind
/// when `start()` returns.
#[test]
fn n25_two_servers_in_eight_workers_twice_in_one_process() {
    let mut cluster = Cluster::of("twice").workers(8).bind("127.0.0.1:0 127.0.0.1:0").start();
    let primary = cluster.pid();
    let (mut first, mut blocked) = (0, Vec::new());
    for round in ["round 1", "round 2"] {
        cluster.said(round);
        let addresses = cluster.until("eight workers, two addresses each", |story| {
            let this_round = story.events().skip_while(|event| **event != Event::Said(round.to_owned()));
            let listening: Vec<&String> = this_round
                .filter_map(|event| match event {
                    Event::Listening { address, .. } => Some(address),
                    _ => None,
                })
                .collect();
            (listening.len() == 16).then(|| {
                let mut addresses: Vec<String> = listening.into_iter().cloned().collect();
                addresses.sort();
                addresses.dedup();
                addresses
            })
        });
        assert_eq!(addresses.len(), 2, "a second bind is a second socket: {addresses:?}");
        for address in &addresses {
            assert_eq!(ask(address, "/").status, 200);
        }
        // One more or less for a moment, while a connection is on its way through.
        if round == "round 1" {
            first = (0..20).map(|_| process::descriptors(primary).len()).min().unwrap_or(0);
        }
        cluster.eventually("nothing is left of the first round", || {
            process::descriptors(primary).len() <= first
        });
        let newest = cluster.story().forks().last().map(|fork| fork.pid).expect("a worker");
        blocked.push(process::blocked_signals(newest));
        ask(&addresses[0], "/disconnect-all");
    }
    assert_eq!(
        blocked[0], blocked[1],
        "the first round's signal mask is left, and the workers have inherited it"
    );
    let story = cluster.ends(0);
    assert_eq!(story.exits().filter(|exit| exit.voluntary && exit.code == Some(0)).count(), 16, "{story}");
}
