//! Workers that give no sign of life, and those that only seem not to.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cluster_tests::client::{Connection, ask, meets};
use cluster_tests::control::Client;
use cluster_tests::process::{is_pending, own_descriptors, state};
use cluster_tests::{Cluster, Plan, Signal};

/// What is logged of one that is silent.
const SILENT: &str = "gave no sign of life";

fn within(fixture: &str, time: &str) -> Plan {
    Cluster::of(fixture).env("CLUSTER_HEARTBEAT_TIMEOUT", time).env("CLUSTER_DRAIN_TIMEOUT", "2s")
}

/// Who it is, as the log names it.
fn named(cluster: &mut Cluster, id: u64) -> String {
    let forked = cluster.fork(id);
    format!("worker {id} (slot {}, pid {})", forked.slot, forked.pid)
}

/// The order of what was done: for each of these there is a line with all of its parts, and none before the one before it.
fn in_order(cluster: &mut Cluster, steps: &[&[&str]]) {
    let is_of = |line: &str, step: &[&str]| step.iter().all(|part| line.contains(part));
    // The log comes by a pipe of its own: an event may overtake the line that was written before it.
    let at = cluster.until(&format!("{steps:?} in the log"), |story| {
        let at = steps.iter().map(|step| story.log().position(|line| is_of(line, step)));
        at.collect::<Option<Vec<_>>>()
    });
    cluster.check(at.is_sorted(), &format!("{steps:?} in this order, not {at:?}"));
}

fn sockets(pid: u32) -> usize {
    own_descriptors(pid).iter().filter(|(_, what)| what.starts_with("socket:")).count()
}

/// A request that was on its way to worker `id` has arrived when it says so.
fn hang(cluster: &mut Cluster, address: &str, id: u64) -> Connection {
    for _ in 0..8 {
        let mut connection = Connection::to(address);
        if connection.ask("/").worker() == id {
            connection.write(b"GET /hang HTTP/1.1\r\nHost: test\r\n\r\n").expect("write a request");
            cluster.said(&format!("hanging {id}"));
            return connection;
        }
    }
    cluster.fail(&format!("nothing came to worker {id}"))
}

/// Mutation: hand on to a worker that is suspected, or leave to it what it has not read; send no SIGTERM, or no SIGKILL; do
/// not replace it.
#[test]
fn p32_what_a_stopped_worker_has_not_read_goes_to_others_and_then_it_is_replaced() {
    let mut cluster = within("serve", "3s").workers(2).start();
    let address = cluster.up(2);
    let (who, pid) = (named(&mut cluster, 1), cluster.fork(1).pid);
    cluster.expect_log(SILENT);
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::STOP);
    cluster.eventually("the worker to stop", || state(pid).is_some_and(|(state, _)| state == 'T'));
    let mut clients: Vec<_> = (0..10).map(|_| Connection::to(&address)).collect();
    // All at once: actix waits for a request no longer than five seconds.
    let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    clients.iter_mut().for_each(|client| client.write(request).expect("write a request"));
    let answers: Vec<_> = clients.iter_mut().map(|client| client.read_to_end().reply().worker()).collect();
    assert_eq!(answers, [2; 10]);
    let told = is_pending(pid, Signal::TERM);
    cluster.check(!told, "all of them to be served while the other is no more than suspected");
    cluster.eventually("a SIGTERM", || is_pending(pid, Signal::TERM));
    let exit = cluster.exit(1);
    assert_eq!(
        (exit.signal.as_deref(), exit.reason.as_str(), exit.voluntary),
        (Some("SIGKILL"), "Stalled", false)
    );
    assert_eq!(cluster.fork(3).slot, 0);
    cluster.up(2);
    in_order(
        &mut cluster,
        &[
            &[&who, SILENT, "it is given nothing more"],
            &[&who, SILENT, "it is told to leave"],
            &[&format!("thread {pid} of {pid} \"serve\": T (stopped)")],
            &[&who, "was killed by SIGKILL", SILENT],
        ],
    );
    cluster.stop();
}

/// Mutation: never trust again; forget to give it its share.
#[test]
fn p32_a_worker_that_goes_on_in_time_has_its_share_again() {
    let mut cluster = within("serve", "6s").workers(2).start();
    let address = cluster.up(2);
    cluster.signal_worker(1, Signal::STOP);
    cluster.logged("it is given nothing more");
    assert_eq!([0; 4].map(|_| ask(&address, "/").worker()), [2; 4]);
    cluster.signal_worker(1, Signal::CONT);
    cluster.logged("gives signs of life again");
    meets(&address, "worker", &[1, 2]);
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 2, "{story}");
}

/// One thread of two hangs; what its worker's other thread has goes on until then.
///
/// Mutation: beat from the link's thread; take the beat of one lane for that of all.
#[test]
fn p32_one_thread_that_hangs_is_enough() {
    let mut cluster = within("serve", "2s").workers(1).env("CLUSTER_THREADS", 2).start();
    cluster.listening(1);
    // One of them says so, and the lane of the other is no more than what was open from the beginning: a listener, a channel, and both
    // ends of two lanes.
    let primary = cluster.pid();
    cluster.eventually("a lane for each", || sockets(primary) == 6);
    let address = cluster.up(1);
    let (who, pid) = (named(&mut cluster, 1), cluster.fork(1).pid);
    cluster.expect_log(SILENT);
    cluster.expect_log("SIGKILL");
    let _hanging = hang(&mut cluster, &address, 1);
    let exit = cluster.exit(1);
    assert_eq!((exit.signal.as_deref(), exit.reason.as_str()), (Some("SIGKILL"), "Stalled"));
    assert_eq!(ask(&address, "/").worker(), 2);
    in_order(
        &mut cluster,
        &[
            &[&who, SILENT, "it is told to leave"],
            &[&format!("of {pid} \"cluster-link\": ")],
            &[&who, "was killed by SIGKILL", SILENT],
        ],
    );
    let story = cluster.stop();
    assert!(story.said("heard 1 the end"), "P34: it was told to leave: {story}");
}

/// Mutation: have no pulse for `cluster::net`; beat from the thread of `block_on`, which only accepts.
#[test]
fn p32_a_runtime_whose_threads_all_hang_is_found_and_one_that_has_a_thread_left_is_not() {
    let mut cluster = within("net_hang", "2s").workers(1).start();
    let address = cluster.up(1);
    let hang = || {
        let mut client = TcpStream::connect(&address).expect("connect");
        client.write_all(b"hang").expect("write");
        client
    };
    let _one = hang();
    cluster.said("hanging 1");
    cluster.listen_for(Duration::from_secs(3));
    Client::to(&address).echoes("well");
    cluster.check(cluster.story().exits().count() == 0, "a thread to be enough");
    cluster.expect_log(SILENT);
    cluster.expect_log("SIGKILL");
    let _other = hang();
    assert_eq!(cluster.exit(1).reason, "Stalled");
    assert_eq!(Client::to(&address).worker, 2);
    cluster.stop();
}

/// Mutation: let nobody beat where there is no lane.
#[test]
fn p32_a_worker_that_listens_to_nothing_beats_from_its_body() {
    let mut cluster = within("body_hangs", "2s").workers(1).start();
    cluster.expect_log(SILENT);
    cluster.said("hanging 1");
    assert_eq!(cluster.exit(1).reason, "Stalled");
    cluster.until("its replacement", |story| story.life(2).contains(&"online").then_some(()));
    cluster.listen_for(Duration::from_secs(3));
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 2, "{story}");
}

/// Mutation: say nothing when the runtime has ended; watch who never had one.
#[test]
fn p32_without_a_runtime_nothing_is_to_be_heard() {
    for plan in [within("body_hangs", "500ms").env("TEST_HANG", "after"), within("idle", "500ms")] {
        let mut cluster = plan.workers(1).start();
        cluster.until("a worker", |story| story.life(1).contains(&"online").then_some(()));
        cluster.listen_for(Duration::from_secs(2));
        let story = cluster.stop();
        assert_eq!(story.forks().count(), 1, "{story}");
    }
}

/// Mutation: take `off` for 60 s, or for 0.
#[test]
fn p32_off_is_never() {
    let mut cluster = within("serve", "off").workers(1).start();
    let address = cluster.up(1);
    cluster.signal_worker(1, Signal::STOP);
    cluster.listen_for(Duration::from_secs(3));
    cluster.signal_worker(1, Signal::CONT);
    assert_eq!(ask(&address, "/").worker(), 1);
    let story = cluster.stop();
    assert!(!story.log().any(|line| line.contains(SILENT)), "{story}");
}

/// Mutation: begin to listen for beats at the birth; name the worker in one of the messages alone.
#[test]
fn p35_a_worker_that_is_not_ready_in_time_is_no_stalled_one() {
    // The one that serves beats six times in these two seconds, however busy the machine is.
    let plan = within("reload", "2s").env("TEST_GENERATIONS", 2).env("TEST_HOW", "hang");
    let mut cluster = plan.workers(1).env("CLUSTER_STARTUP_TIMEOUT", "5s").start();
    cluster.up(1);
    cluster.expect_log("SIGKILL");
    cluster.signal(Signal::HUP);
    let exit = cluster.exit(2);
    assert_eq!(exit.reason, "TimedOut");
    let who = named(&mut cluster, 2);
    let begin = format!("{who} was killed by SIGKILL after ");
    let line = cluster.logged(&begin);
    cluster.check(line.contains("s, since its time was over"), "its start-up time to have been over");
    cluster.stop();
}

/// Mutation: expect beats of who was replaced and is gone.
#[test]
fn p36_a_long_rolling_reload_alarms_nobody() {
    let mut cluster = within("serve", "4s").workers(5).start();
    cluster.up(5);
    let began = Instant::now();
    let mut generation = 1;
    while began.elapsed() < Duration::from_secs(6) {
        generation += 1;
        cluster.signal(Signal::HUP);
        cluster.said(&format!("reload {generation} ok"));
    }
    let story = cluster.stop();
    assert!(story.exits().all(|exit| exit.reason != "Stalled"), "{story}");
    assert!(!story.log().any(|line| line.contains(SILENT)), "{story}");
}

/// Waits until a clock that does not stand still says so.
fn let_pass(cluster: &mut Cluster, time: Duration) {
    let began = Instant::now();
    cluster.eventually("time to pass", || began.elapsed() >= time);
}

/// Mutation: judge before what was said meanwhile is read.
#[test]
fn a_primary_that_was_stopped_blames_nobody() {
    let mut cluster = within("serve", "2s").workers(2).start();
    let address = cluster.up(2);
    cluster.signal(Signal::STOP);
    let_pass(&mut cluster, Duration::from_secs(4));
    cluster.signal(Signal::CONT);
    serves_on(cluster, &address);
}

/// As when the machine slept: the primary is the first that goes on.
///
/// Mutation: renew nobody.
#[test]
fn a_primary_that_was_stopped_with_its_workers_waits_for_them() {
    let mut cluster = within("serve", "2s").workers(2).start();
    let address = cluster.up(2);
    cluster.signal(Signal::STOP);
    for id in 1..=2 {
        cluster.signal_worker(id, Signal::STOP);
    }
    let_pass(&mut cluster, Duration::from_secs(4));
    cluster.signal(Signal::CONT);
    let_pass(&mut cluster, Duration::from_millis(100));
    for id in 1..=2 {
        cluster.signal_worker(id, Signal::CONT);
    }
    serves_on(cluster, &address);
}

fn serves_on(mut cluster: Cluster, address: &str) {
    cluster.listen_for(Duration::from_secs(2));
    meets(address, "worker", &[1, 2]);
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 2, "{story}");
    assert!(!story.log().any(|line| line.contains(SILENT)), "{story}");
}
