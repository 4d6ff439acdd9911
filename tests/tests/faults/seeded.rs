//! Faults as a seed chooses them, under load.

use std::env;
use std::time::{Duration, Instant};

use cluster_tests::client::ask;
use cluster_tests::faults::Fault;
use cluster_tests::load::Load;
use cluster_tests::{Cluster, can_inject};

/// What may fail, where, and how. Each of them is survived by everybody: a client notices nothing.
const FAULTS: [(bool, &str, &[&str]); 4] = [
    (true, "accept4", &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPROTO", "EPERM", "EINTR"]),
    (true, "sendmsg", &["ETOOMANYREFS", "EAGAIN", "ENOBUFS", "ENOMEM", "EINTR"]),
    (true, "recvmsg", &["ENOMEM", "EINTR"]),
    (false, "recvmsg", &["ENOMEM", "EINTR"]),
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a usize")
    }
}

/// For `TEST_SECONDS` (3), from `TEST_SEED` (another one each time; it is printed). Mutation: any of this folder's.
#[test]
fn s28_whatever_fails_for_a_moment_nobody_outside_notices() {
    if !can_inject() {
        return;
    }
    let number = |name: &str| env::var(name).ok().and_then(|value| value.parse().ok());
    let seed = number("TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()) * 0x9e37_79b9 + 1);
    let end = Instant::now() + Duration::from_secs(number("TEST_SECONDS").unwrap_or(3));
    println!("TEST_SEED={seed}");
    let mut random = Random(seed);
    let mut cluster = Cluster::start("serve", 3);
    let address = cluster.up(3);
    cluster.expect_log("cluster[");
    let load = Load::mixed(&address, 3, 3);
    let mut done = Vec::new();
    while Instant::now() < end {
        let (in_primary, call, errors) = FAULTS[random.below(FAULTS.len())];
        let (error, first, step) =
            (errors[random.below(errors.len())], random.below(5) + 1, random.below(4) + 1);
        let victim = u64::try_from(random.below(3) + 1).expect("a small number");
        let pid = if in_primary { cluster.pid() } else { cluster.fork(victim).pid };
        let fault = format!("{call}:error={error}:when={first}..{}+{step}", first + 4 * step);
        let whose = if in_primary { "the primary".to_owned() } else { format!("worker {victim}") };
        done.push(format!("{fault} in {whose}"));
        let fault = Fault::attach(pid, &fault);
        // All of them, before strace lets go: a call that it has in its hands then is answered by ENOSYS.
        // The primary is told something meanwhile, so that it has something to receive.
        cluster.eventually(&done.join("\n"), || {
            ask(&address, "/say/something");
            fault.injected() >= 5
        });
        drop(fault);
        load.served(20);
    }
    println!("{}", done.join("\n"));
    let tally = load.stop();
    let story = format!("TEST_SEED={seed}\n{}\n{tally:?}", done.join("\n"));
    cluster.check(tally.harmed() + tally.refused == 0, &format!("nobody to notice: {story}"));
    let births = cluster.stop().forks().count();
    assert_eq!(births, 3, "nobody to die: {story}");
}
