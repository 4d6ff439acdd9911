//! How a cluster is told to stop while more is under way than its workers know of, whatever serves in them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cluster_tests::client::{Connection, Outcome};
use cluster_tests::load::Load;
use cluster_tests::{Cluster, Signal};

/// Every request is answered or refused; once one was refused, none is answered.
pub fn under_load(fixture: &str, bind: &str) {
    let mut cluster = Cluster::of(fixture).workers(2).bind(bind).start();
    let address = cluster.up(2);
    let load = Load::on(&address, 4);
    load.served(300);
    cluster.signal(Signal::TERM);
    load.refused(20);
    let tally = load.stop();
    cluster.check(tally.harmed() == 0, &format!("nothing lost: {tally:?}"));
    cluster.check(tally.ok_after_refused == 0, &format!("no answer after a refusal: {tally:?}"));
    cluster.check(tally.by_worker.len() == 2, &format!("both workers to serve: {tally:?}"));
    cluster.ends(0);
}

/// How requests end of which some are in a worker's hands, others on its lane, when every process is told to stop at
/// once, as by a terminal or a service manager.
///
/// # Panics
/// When nobody listens.
#[must_use]
pub fn with_a_queue(mut cluster: Cluster) -> Vec<Outcome> {
    // More than a runtime takes without a look at its signals, and so many that tests must not hold them all at once.
    const QUEUED: usize = 400;
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let address = cluster.up(2);
    let mut held: Vec<_> = (0..4).map(|_| Connection::to(&address)).collect();
    held.iter_mut().for_each(Connection::begin);
    both(&mut cluster, Signal::STOP);
    let mut queued: Vec<_> = (0..QUEUED).map(|_| Connection::to(&address)).collect();
    for client in &mut queued {
        let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        client.write(request).expect("write a request");
    }
    stop(&mut cluster);
    let mut outcomes: Vec<_> = held.iter_mut().map(Connection::finish).collect();
    outcomes.extend(queued.iter_mut().map(Connection::read_to_end));
    cluster.ends(0);
    outcomes
}

/// Tells stopped workers and their primary to end, and lets them go on.
pub fn stop(cluster: &mut Cluster) {
    cluster.signal(Signal::TERM);
    cluster.logged("SIGTERM: stopping");
    both(cluster, Signal::TERM);
    both(cluster, Signal::CONT);
}

/// Sends both workers a signal.
pub fn both(cluster: &mut Cluster, signal: Signal) {
    (1..=2).for_each(|id| cluster.signal_worker(id, signal));
}

/// The requests that were not answered by 200.
#[must_use]
pub fn unanswered(outcomes: &[Outcome]) -> Vec<&Outcome> {
    let answered = |outcome: &&Outcome| matches!(outcome, Outcome::Answered(reply) if reply.status == 200);
    outcomes.iter().filter(|outcome| !answered(outcome)).collect()
}

/// Connections go to both workers in turn, and a worker is told where each comes from, if `path` tells.
///
/// # Panics
/// If it is not so.
pub fn by_turns_to(fixture: &str, path: &str) {
    let mut cluster = Cluster::start(fixture, 2);
    let address = cluster.up(2);
    let mut served = BTreeMap::new();
    for _ in 0..10 {
        let mut connection = Connection::to(&address);
        let reply = connection.ask(path);
        if path == "/client" {
            assert_eq!(reply.number("client"), Some(connection.port().into()), "{reply:?}");
        }
        *served.entry(reply.worker()).or_insert(0) += 1;
    }
    // Five each, but for the turns of who was kept from its processor.
    assert!(served.len() == 2 && served.values().all(|count| (3..=7).contains(count)), "{served:?}");
    cluster.stop();
}
