//! Whose socket file it is: who may bind it, and who removes it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use cluster_tests::client::{Outcome, ask, attempt};
use cluster_tests::control::Control;
use cluster_tests::{Cluster, Signal};

/// A path of this test's own; whatever is there in the end is removed.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("cluster-{name}-{}.sock", std::process::id())))
    }

    fn address(&self) -> String {
        format!("unix:{}", self.0.display())
    }

    fn inode(&self) -> Option<u64> {
        fs::symlink_metadata(&self.0).ok().map(|file| file.ino())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Mutation: remove whatever file is in the way; remove none; remove by name alone at the end.
#[test]
fn p27_a_second_instance_is_refused_and_touches_nothing_and_a_stale_file_is_in_nobodys_way() {
    let place = Place::new("p27");
    let start = || Cluster::of("serve").workers(2).bind(&place.address()).start();
    let mut first = start();
    let address = first.up(2);
    let file = place.inode();
    for _ in 0..2 {
        let mut second = start();
        second.expect_log("in use");
        second.expect_log("Error: ");
        second.expect_log("before it was ready");
        let story = second.ends(1);
        assert!(story.addresses().is_empty(), "{story}");
        assert_eq!((place.inode(), ask(&address, "/").status), (file, 200), "the first is untouched");
    }
    // Killed, it leaves its file, at which nobody listens; and its workers are gone.
    first.signal(Signal::KILL);
    let path = place.0.clone();
    first.leaves(&path);
    first.orphaned(Duration::from_secs(10));
    assert_eq!(place.inode(), file, "nobody was there to remove it");
    assert_eq!(attempt(&address, "/"), Outcome::Refused);
    let mut third = start();
    assert_eq!(third.up(2), address);
    assert_eq!(ask(&address, "/").status, 200);
    third.stop();
    assert_eq!(place.inode(), None, "and it is removed");
}

/// Mutation: remove the file in a worker's end; with an old generation; in a child of a worker.
#[test]
fn p116_only_the_primary_removes_the_file_and_only_at_its_end() {
    let place = Place::new("p116");
    let mut cluster = Cluster::of("serve").workers(2).bind(&place.address()).start();
    let address = cluster.up(2);
    let file = place.inode();
    cluster.expect_log("SIGKILL");
    cluster.expect_log("status 3");
    cluster.signal_worker(1, Signal::KILL);
    cluster.exit(1);
    cluster.up(2);
    assert_eq!(place.inode(), file, "a worker that is killed");
    drop(attempt(&address, "/exit/3"));
    cluster.listening(4);
    cluster.up(2);
    assert_eq!(place.inode(), file, "a worker that exits");
    cluster.signal(Signal::HUP);
    cluster.said("reload 2 ok");
    cluster.until("the old ones' ends", |story| (story.exits().count() == 4).then_some(()));
    cluster.up(2);
    assert_eq!((place.inode(), ask(&address, "/").status), (file, 200), "a generation");
    cluster.stop();
    assert_eq!(place.inode(), None);
}

/// Mutation: remove the file of every Unix socket that was served.
#[test]
fn p117_a_file_that_was_there_before_the_program_stays() {
    let place = Place::new("p117");
    let listener = UnixListener::bind(&place.0).expect("bind");
    let ours = listener.try_clone().expect("a duplicate");
    let mut cluster = Cluster::of("net_control").workers(1).given(listener).start();
    let mut worker = Control::of(&mut cluster, 1);
    worker.does("unix-fd given 3");
    let file = place.inode();
    let path = place.0.clone();
    cluster.leaves(&path);
    cluster.stop();
    assert_eq!(place.inode(), file, "whoever made it removes it");
    drop(ours);
}

/// Mutation: take an error of accept for one that passes.
#[test]
fn p120_a_listener_that_somebody_shuts_down_is_told_of_and_burns_no_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let ours = listener.try_clone().expect("a duplicate");
    let mut cluster = Cluster::of("net_control").workers(1).given(listener).start();
    let mut worker = Control::of(&mut cluster, 1);
    let address = worker.serves(&mut cluster, "tcp-fd given 3");
    cluster.shares(&address);
    cluster.expect_log("it was shut down");
    rustix::net::shutdown(&ours, rustix::net::Shutdown::Both).expect("shut it down");
    cluster.logged("it was shut down");
    let primary = cluster.pid();
    let before = cluster_tests::process::processor_time(primary);
    cluster.listen_for(Duration::from_secs(1));
    let used = cluster_tests::process::processor_time(primary) - before;
    cluster.check(used < Duration::from_millis(50), &format!("a calm primary, it used {used:?}"));
    let story = cluster.stop();
    assert_eq!(story.log().filter(|line| line.contains("it was shut down")).count(), 1, "{story}");
}
