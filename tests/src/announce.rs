//! In a fixture's primary: prints every event of a worker's life as one line, and obeys the test's orders.

use std::env;
use std::process;
use std::time::Duration;

use ::cluster::{Address, Exit, Primary, Reload, Signal, Upgrade, Worker};
use serde::{Deserialize, Serialize};

/// What a worker's message asks the primary for. The test gives orders over HTTP, to any worker; see
/// [`crate::serve`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Order {
    /// Only to be announced.
    Say(String),
    /// Send this text to that worker.
    Tell(u64, String),
    /// `worker.disconnect()`.
    Disconnect(u64),
    /// `worker.kill(signal)`, by number.
    Kill(u64, i32),
    /// `cluster::fork()`.
    Fork,
    /// `cluster::disconnect()`.
    DisconnectAll,
    /// `cluster::reload()`.
    Reload,
    /// `cluster::scale(workers)`.
    Scale(usize),
    /// `cluster::upgrade()`.
    Upgrade,
    /// End the primary's process at once, with this code.
    ExitPrimary(i32),
    /// End it by SIGABRT.
    AbortPrimary,
}

/// The fixtures' `primary = …`: announces all events, obeys all orders.
pub fn life(primary: &mut Primary) {
    events(primary);
    primary.on_message(message);
}

/// Announces all events but messages.
pub fn events(primary: &mut Primary) {
    primary.on_fork(fork);
    primary.on_online(online);
    primary.on_listening(listening);
    primary.on_disconnect(disconnect);
    primary.on_exit(exit);
    primary.on_reload(reload);
    primary.on_upgrade(upgrade);
}

/// `fork 1 slot 0 pid 123 generation 1 state none`
pub fn fork(worker: Worker) {
    let (id, slot, pid, generation) = (worker.id(), worker.slot(), worker.pid(), worker.generation());
    println!("fork {id} slot {slot} pid {pid} generation {generation} state {}", state(&worker));
}

/// `online 1 state online`
pub fn online(worker: Worker) {
    println!("online {} state {}", worker.id(), state(&worker));
}

/// `listening 1 address 127.0.0.1:40123 state listening`
pub fn listening(worker: Worker, address: Address) {
    println!("listening {} address {address} state {}", worker.id(), state(&worker));
}

/// `message 1 Say("hello")`
pub fn message(worker: Worker, order: Order) {
    println!("message {} {order:?}", worker.id());
    match order {
        Order::Say(_) => {}
        Order::Tell(id, text) => {
            let told = ::cluster::get(id).map(|worker| worker.send(text));
            if !matches!(told, Some(Ok(()))) {
                println!("cannot tell worker {id}: {told:?}");
            }
        }
        Order::Disconnect(id) => with(id, |worker| worker.disconnect()),
        Order::Kill(id, number) => {
            let signal = Signal::from_raw(number).expect("an order names a signal that exists");
            with(id, |worker| worker.kill(signal));
        }
        Order::Fork => {
            ::cluster::fork();
        }
        Order::DisconnectAll => ::cluster::disconnect(),
        Order::Reload => ::cluster::reload(),
        Order::Scale(workers) => ::cluster::scale(workers),
        Order::Upgrade => ::cluster::upgrade(),
        Order::ExitPrimary(code) => process::exit(code),
        Order::AbortPrimary => process::abort(),
    }
}

fn with<T>(id: u64, what: impl FnOnce(Worker) -> T) {
    match ::cluster::get(id) {
        Some(worker) => drop(what(worker)),
        None => println!("there is no worker {id}"),
    }
}

/// `disconnect 1 voluntary false state disconnected`
pub fn disconnect(worker: Worker) {
    println!(
        "disconnect {} voluntary {} state {}",
        worker.id(),
        worker.exited_after_disconnect(),
        state(&worker)
    );
}

/// `exit 1 pid 123 code 42 signal - voluntary false reason Failed lived 3 state dead text exited with …`
pub fn exit(worker: Worker, exit: Exit) {
    println!(
        "exit {} pid {} code {} signal {} voluntary {} reason {:?} lived {} state {} text {exit}",
        worker.id(),
        worker.pid(),
        exit.code().map_or("-".to_owned(), |code| code.to_string()),
        exit.signal().map_or("-".to_owned(), |signal| signal.to_string()),
        exit.exited_after_disconnect(),
        exit.reason(),
        Duration::as_millis(&exit.lived()),
        state(&worker),
    );
}

/// `reload 2 ok`, or `reload 2 failed: …`; what is kept of it is the same.
pub fn reload(outcome: Reload) {
    assert_eq!(::cluster::last_reload().as_ref(), Some(&outcome));
    match outcome.result() {
        Ok(()) => println!("reload {} ok", outcome.generation()),
        Err(failure) => println!("reload {} failed: {failure}", outcome.generation()),
    }
}

/// `upgrade 2 ok`, or `upgrade 2 failed: …`; what is kept of it is the same. With TEST_AGAIN, the first that fails is tried again.
pub fn upgrade(outcome: Upgrade) {
    assert_eq!(::cluster::last_upgrade().as_ref(), Some(&outcome));
    match outcome.result() {
        Ok(()) => println!("upgrade {} ok", outcome.generation()),
        Err(failure) => println!("upgrade {} failed: {failure}", outcome.generation()),
    }
    if outcome.generation() == 2 && outcome.result().is_err() && env::var_os("TEST_AGAIN").is_some() {
        ::cluster::upgrade();
    }
}

fn state(worker: &Worker) -> String {
    format!("{:?}", worker.state()).to_lowercase()
}
