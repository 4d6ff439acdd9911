//! `serve`, where each worker has callbacks of its own, which register others, and one of which panics.

use cluster::{Primary, Worker};
use cluster_tests::{announce, serve};

/// Tells where and when it is dropped.
struct Captured(u64);

impl Drop for Captured {
    fn drop(&mut self) {
        println!("dropped {} in {}", self.0, std::process::id());
    }
}

fn watch(worker: Worker) {
    let captured = Captured(worker.id());
    worker.on_online(|worker| println!("own online {}", worker.id()));
    worker.on_listening(|worker, address| println!("own listening {} {address}", worker.id()));
    worker.on_message(|_, number: u32| println!("never {number}"));
    worker.on_message(|worker, order: announce::Order| println!("own message {} {order:?}", worker.id()));
    worker.on_disconnect(|worker| {
        println!("own disconnect {}", worker.id());
        worker.on_disconnect(|_| println!("never"));
        worker.on_exit(|worker, exit| println!("added exit {} {:?}", worker.id(), exit.code()));
    });
    worker.on_exit(move |worker, _| {
        let Captured(id) = &captured;
        println!("own exit {id}");
        worker.on_exit(|_, _| println!("never"));
        panic!("a bug in a worker's own callback");
    });
}

fn setup(primary: &mut Primary) {
    announce::life(primary);
    primary.on_fork(watch);
}

#[cluster::main(primary = setup)]
async fn main() -> std::io::Result<()> {
    serve::all().await
}
