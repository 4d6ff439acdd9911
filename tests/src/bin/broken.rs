//! Serves the judge's routes, but for what the file `kind` beside it says: where to fail, and how (`main panics`), or what
//! to set (`user nobody-here`).

use std::net::TcpListener;
use std::process::exit;
use std::{env, fs, thread};

use cluster::{Cluster, Primary, Role};
use cluster_tests::{announce, judged, process};
use rustix::process::Signal;

/// What the file says of this, such as of `main`.
fn told(what: &str) -> Option<String> {
    let program = env::current_exe().expect("the path of this program");
    let kind = fs::read_to_string(program.with_file_name("kind")).unwrap_or_default();
    kind.split_once(' ').filter(|(name, _)| *name == what).map(|(_, how)| how.to_owned())
}

fn fails_in(place: &str) {
    match told(place).as_deref() {
        None => {}
        Some("panics") => panic!("a bug in the new code"),
        Some("hangs") => loop {
            thread::park();
        },
        // The first one takes the standard library's own answer to it away.
        Some("segfaults") => (0..2).for_each(|_| process::signal(std::process::id(), Signal::SEGV)),
        Some("exits") => exit(1),
        // The only thing that it wants for itself.
        Some(address) => drop(TcpListener::bind(address).expect("bind an address of its own")),
    }
}

fn setup(primary: &mut Primary) {
    fails_in("primary");
    announce::life(primary);
}

fn main() {
    fails_in("start");
    let cluster = Cluster::new().primary(setup).preload(|| fails_in("preload")).listen(told("listen"));
    let cluster = told("user").into_iter().fold(cluster, Cluster::user);
    match cluster.start() {
        Role::Primary(end) => end.exit(),
        Role::Worker(worker) => worker.block_on(async {
            fails_in("main");
            judged::serve(env!("CARGO_BIN_NAME")).await.expect("serve");
        }),
    }
}
