//! A worker that sends TEST_COUNT numbered messages of TEST_SIZE bytes, and ends in the same breath as TEST_HOW says;
//! with TEST_STOP the primary sleeps meanwhile, and asks it to leave at the last of them.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{env, process};

use cluster_tests::announce;
use rustix::process::{Signal, getpid, getppid, kill_process};

fn number(name: &str) -> usize {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(1)
}

fn setup(primary: &mut cluster::Primary) {
    static HEARD: AtomicUsize = AtomicUsize::new(0);
    announce::events(primary);
    primary.on_message(|worker, (n, body): (usize, String)| {
        assert!(n == HEARD.fetch_add(1, Relaxed), "out of order: {n}");
        if env::var_os("TEST_STOP").is_some() && n + 1 == number("TEST_COUNT") {
            worker.disconnect();
        }
        assert!(body.len() == number("TEST_SIZE") && !worker.is_dead() && worker.is_connected());
    });
    primary.on_disconnect(|_| println!("heard {} by disconnect", HEARD.load(Relaxed)));
    primary.on_exit(|_, _| println!("heard {} by exit", HEARD.load(Relaxed)));
}

#[cluster::main(workers = 1, restart = "never", runtime = "none", primary = setup)]
fn main() {
    let worker = cluster::worker();
    worker.ready();
    if env::var_os("TEST_STOP").is_some() {
        println!("pid {}", process::id());
        kill_process(getppid().expect("a primary"), Signal::STOP).expect("stop the primary");
    }
    let body = "x".repeat(number("TEST_SIZE"));
    (0..number("TEST_COUNT")).for_each(|n| worker.send((n, &body)).expect("send"));
    match env::var("TEST_HOW").as_deref() {
        Ok("exit") => process::exit(7),
        Ok("panic") => panic!("its last words are said"),
        Ok("abort") => process::abort(),
        Ok("kill") => kill_process(getpid(), Signal::KILL).expect("a signal to itself"),
        _ => {}
    }
}
