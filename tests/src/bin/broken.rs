//! Serves the judge's routes, but for what the file `kind` beside it says: where to fail, and how (`main panics`), or what
//! to set (`user nobody-here`).

use cluster::{Cluster, Primary, Role};
use cluster_tests::fails::{fails_in, told};
use cluster_tests::{announce, judged};

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
