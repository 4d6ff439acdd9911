//! Tells at each event what the worker's handle says, and asks it to go, twice each, where TEST_DISCONNECT and
//! TEST_KILL say so (`fork online listening message disconnect exit unborn`), or all of them: TEST_STOP.

use std::env;

use cluster::{Primary, Signal, Worker};
use cluster_tests::{announce, serve};

fn at(event: &str, worker: &Worker) {
    let (connected, dead, asked) =
        (worker.is_connected(), worker.is_dead(), worker.exited_after_disconnect());
    println!("at {event} {} {:?} {connected} {dead} {asked}", worker.id(), worker.state());
    let wanted = |name| env::var(name).is_ok_and(|events| events.split(' ').any(|wanted| wanted == event));
    for _ in 0..2 {
        if wanted("TEST_DISCONNECT") {
            worker.disconnect();
        }
        if wanted("TEST_KILL") {
            worker.kill(Signal::KILL);
        }
        if wanted("TEST_STOP") {
            cluster::disconnect();
        }
    }
}

fn setup(primary: &mut Primary) {
    announce::life(primary);
    primary.on_fork(|worker| at("fork", &worker));
    primary.on_online(|worker| at("online", &worker));
    primary.on_listening(|worker, _| at("listening", &worker));
    primary.on_message(|worker, _: announce::Order| at("message", &worker));
    primary.on_disconnect(|worker| at("disconnect", &worker));
    primary.on_exit(|worker, _| at("exit", &worker));
    if env::var_os("TEST_UNBORN").is_some() {
        at("unborn", &cluster::fork());
    }
}

#[cluster::main(primary = setup)]
async fn main() -> std::io::Result<()> {
    serve::all().await
}
