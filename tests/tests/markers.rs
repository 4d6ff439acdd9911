//! Nothing in the environment makes a process a worker.

use cluster_tests::Cluster;
use cluster_tests::client::ask;

/// Mutation: take a process with CLUSTER_WORKER_ID for a worker.
#[test]
fn s07_whatever_the_environment_claims_it_is_a_primary() {
    for third in ["exec 3</dev/null", "exec 3<&-", "exec 3<&0", "exec 3>&1"] {
        let mut cluster = Cluster::of("serve")
            .workers(2)
            .env("CLUSTER_ROLE", "worker")
            .env("CLUSTER_WORKER_ID", 1)
            .env("NODE_UNIQUE_ID", 1)
            .env("NODE_CHANNEL_FD", 3)
            .env("LISTEN_FDS", 1)
            .env("LISTEN_PID", 1)
            .after(third)
            .start();
        let address = cluster.up(2);
        assert_eq!(ask(&address, "/").status, 200);
        assert_eq!(cluster.story().forks().count(), 2);
        cluster.stop();
    }
}
