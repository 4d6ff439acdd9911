//! `serve`, whose primary tells its status at SIGUSR1 as a value, too; workers of the second generation are never ready.

use cluster::{Primary, Signal, status};
use cluster_tests::{announce, serve};

fn setup(primary: &mut Primary) {
    announce::life(primary);
    primary.on_signal(Signal::USR1, || {
        let status = status().expect("this is the primary");
        let pids: Vec<_> = status.workers.iter().map(|worker| worker.pid.to_string()).collect();
        println!("status {} {} {:?}", status.generation, pids.join(" "), status.listeners);
    });
}

#[cluster::main(primary = setup)]
async fn main() -> std::io::Result<()> {
    assert!(status().is_none(), "it is the primary's");
    if cluster::worker().generation() == 2 {
        std::future::pending().await
    }
    serve::all().await
}
