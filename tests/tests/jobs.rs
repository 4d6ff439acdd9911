//! Workers that have nothing to serve, and end by themselves.

use cluster_tests::Cluster;

/// Mutation: wait for workers that return at once to be ready; count the first that does as one that could not start.
#[test]
fn r34_a_main_that_returns_at_once_ends_the_cluster() {
    let plan = || Cluster::of("cannot_boot").workers(4).env("TEST_HOW", "return");
    let mut cluster = plan().env("CLUSTER_RESTART", "never").start();
    cluster.expect_log("status 0");
    let story = cluster.ends(0);
    for id in 1..=4 {
        let life = story.life(id);
        assert!(life.starts_with(&["fork"]) && life.ends_with(&["disconnect", "exit"]), "{story}");
    }
    assert_eq!(story.exits().filter(|exit| exit.code == Some(0)).count(), 4, "{story}");
    // Where it would be started again and again, it is told to be no server.
    let mut cluster = plan().start();
    cluster.expect_log("before it was ready");
    cluster.expect_log("the cluster ends");
    cluster.ends(1);
}
