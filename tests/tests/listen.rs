//! Whose sockets they are: bound once, shared by those who ask for the same, closed when nobody has a use for them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use cluster_tests::control::{Client, Control, meet};
use cluster_tests::process::listening_inodes;
use cluster_tests::{Cluster, Event, Signal};

const IN_USE: &str = "AddrInUse 98";

/// A cluster of as many workers, each under control.
fn controlled(workers: usize) -> (Cluster, Vec<Control>) {
    let mut cluster = Cluster::of("net_control").workers(workers).start();
    let controls = (1..=workers as u64).map(|id| Control::of(&mut cluster, id)).collect();
    (cluster, controls)
}

/// Blocks until nobody listens on a port any more.
fn closes(cluster: &mut Cluster, address: &str) {
    cluster.eventually(&format!("{address} to be closed"), || listening_inodes(address).is_empty());
    assert!(Client::try_to(address).is_none(), "refused");
}

/// Who serves, when so many clients come.
fn who_serves(address: &str, clients: usize) -> BTreeSet<u64> {
    let clients: Vec<_> = (0..clients).map(|_| Client::to(address)).collect();
    clients.iter().map(|client| client.worker).collect()
}

fn listenings(cluster: &Cluster, id: u64) -> usize {
    let of_it = |event: &&Event| matches!(event, Event::Listening { id: other, .. } if *other == id);
    cluster.story().events().filter(of_it).count()
}

/// Mutation: do not tell the primary that a listener was dropped; keep its key; announce each address once for good.
#[test]
fn n08_a_port_of_the_kernels_choice_again_and_again() {
    let (mut cluster, mut workers) = controlled(1);
    for round in 1..=4 {
        let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
        assert_eq!(who_serves(&address, 2), BTreeSet::from([1]));
        cluster.until("the address to be announced each time", |story| {
            let told = story.events().filter(|event| event.name() == "listening").count();
            (told == round).then_some(())
        });
        workers[0].does("drop a");
        if round % 2 == 0 {
            closes(&mut cluster, &address);
        }
    }
    cluster.stop();
}

/// Mutation: close a listener only with the cluster; or as soon as one of two workers has dropped it.
#[test]
fn n50_a_listener_that_is_dropped_everywhere_is_closed() {
    let (mut cluster, mut workers) = controlled(2);
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    assert_eq!(workers[1].serves(&mut cluster, "tcp a 127.0.0.1:0"), address);
    workers[0].does("drop a");
    for _ in 0..4 {
        assert_eq!(who_serves(&address, 2), BTreeSet::from([2]));
    }
    workers[1].does("drop a");
    closes(&mut cluster, &address);
    // Neither the listener nor its worker was the last of its kind.
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    assert_eq!(who_serves(&address, 1), BTreeSet::from([1]));
    cluster.stop();
}

/// Mutation: leave what is on a dropped listener's lane where it is.
#[test]
fn n50_what_a_dropped_listener_has_not_accepted_goes_to_others() {
    let (mut cluster, mut workers) = controlled(2);
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    assert_eq!(who_serves(&address, 1), BTreeSet::from([1]));
    cluster.stop_worker(1);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = address.clone();
            std::thread::spawn(move || Client::to(&address).worker)
        })
        .collect();
    assert_eq!(workers[1].serves(&mut cluster, "tcp a 127.0.0.1:0"), address);
    cluster.expect_log("SIGKILL");
    cluster.signal_worker(1, Signal::KILL);
    let served: BTreeSet<u64> = clients.into_iter().map(|client| client.join().expect("served")).collect();
    assert_eq!(served, BTreeSet::from([2]));
    cluster.exit(1);
    Control::of(&mut cluster, 3);
    cluster.stop();
}

/// Mutation: close a listener when its only holder dies.
#[test]
fn n50_clients_wait_while_a_successor_comes() {
    let mut cluster = Cluster::of("net_echo").workers(1).start();
    let address = cluster.up(1);
    let inode = listening_inodes(&address);
    cluster.expect_log("SIGKILL");
    cluster.expect_log("exited with status 0");
    for (id, signal) in [(1, Signal::KILL), (2, Signal::TERM), (3, Signal::KILL)] {
        cluster.signal_worker(id, signal);
        assert!(Client::to(&address).worker >= id, "never refused");
        cluster.listening(id + 1);
    }
    assert_eq!(listening_inodes(&address), inode, "the same socket all the time");
    cluster.stop();
}

/// The new worker is up before it binds, and the old one gone before it has.
///
/// Mutation: close what a replaced worker held when that is gone and nobody comes any more.
#[test]
fn n50_clients_wait_while_who_is_new_in_a_reload_has_not_bound_yet() {
    let (mut cluster, mut workers) = controlled(1);
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    let inode = listening_inodes(&address);
    cluster.signal(Signal::HUP);
    let mut new = Control::of(&mut cluster, 2);
    cluster.exit(1);
    let client = address.clone();
    let client = std::thread::spawn(move || Client::to(&client).worker);
    cluster.listen_for(std::time::Duration::from_millis(300));
    assert_eq!(new.serves(&mut cluster, "tcp a 127.0.0.1:0"), address);
    assert_eq!(client.join().expect("never refused"), 2);
    assert_eq!(listening_inodes(&address), inode, "the same socket all the time");
    cluster.stop();
}

/// Mutation: keep what a worker held that left voluntarily.
#[test]
fn n50_who_leaves_for_good_leaves_no_listener() {
    let (mut cluster, mut workers) = controlled(2);
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    assert_eq!(who_serves(&address, 1), BTreeSet::from([1]));
    workers[0].does("disconnect");
    cluster.exit(1);
    closes(&mut cluster, &address);
    cluster.stop();
}

/// Mutation: end a lane on which nothing comes.
#[test]
fn n51_a_worker_that_listens_stays() {
    let mut cluster = Cluster::start("net_echo", 1);
    cluster.listen_for(std::time::Duration::from_secs(3));
    let address = cluster.up(1);
    Client::to(&address).end();
    let story = cluster.stop();
    assert_eq!(story.forks().count(), 1, "{story}");
}

/// Mutation: forget who holds a listener when one of them drops it.
#[test]
fn n58_one_worker_closes_and_listens_again_while_another_listens() {
    let (mut cluster, mut workers) = controlled(2);
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    workers[1].serves(&mut cluster, "tcp a 127.0.0.1:0");
    for _ in 0..3 {
        meet(&address, 4, &[1, 2]);
        workers[1].does("drop a");
        assert_eq!(who_serves(&address, 2), BTreeSet::from([1]));
        assert_eq!(workers[1].serves(&mut cluster, "tcp a 127.0.0.1:0"), address);
        cluster.listening(2);
    }
    meet(&address, 4, &[1, 2]);
    let story = cluster.stop();
    assert!(story.exits().all(|exit| exit.code == Some(0)), "{story}");
}

/// Mutation: let a second bind of one address have the first one's socket; keep the address taken when it is dropped.
#[test]
fn n87_a_port_is_one_listeners_in_a_worker_and_any_workers_after() {
    let (mut cluster, mut workers) = controlled(2);
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    let again = format!("tcp b {address}");
    workers[0].does("drop a");
    closes(&mut cluster, &address);
    assert_eq!(workers[0].serves(&mut cluster, &again), address);
    workers[0].fails(&again, IN_USE);
    workers[0].does("drop b");
    assert_eq!(workers[1].serves(&mut cluster, &again), address);
    assert_eq!(who_serves(&address, 1), BTreeSet::from([2]));
    workers[1].does("drop b");
    assert_eq!(workers[0].serves(&mut cluster, &again), address);
    assert_eq!(who_serves(&address, 1), BTreeSet::from([1]));
    cluster.stop();
}

/// Mutation: as above; close the first listener when the second is refused.
#[test]
fn n89_a_second_listen_is_refused_and_the_first_can_still_close() {
    let (mut cluster, mut workers) = controlled(1);
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    closes_after_a_refusal(&mut cluster, &mut workers[0], &address);
    cluster.stop();
}

fn closes_after_a_refusal(cluster: &mut Cluster, worker: &mut Control, address: &str) {
    worker.does("drop a");
    closes(cluster, address);
    worker.serves(cluster, &format!("tcp a {address}"));
    worker.fails(&format!("tcp b {address}"), IN_USE);
    assert_eq!(who_serves(address, 1), BTreeSet::from([worker.id]));
    worker.does("drop a");
    closes(cluster, address);
}

/// Mutation: forget an answer that nobody waits for.
#[test]
fn r49_a_bind_that_nobody_waits_for_is_closed_again() {
    let (mut cluster, mut workers) = controlled(1);
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    workers[0].does("drop a");
    closes(&mut cluster, &address);
    for _ in 0..3 {
        workers[0].does(&format!("ask - {address}"));
    }
    closes(&mut cluster, &address);
    // Nor does it take anything from the one that comes after it.
    workers[0].does(&format!("ask - {address}"));
    workers[0].serves(&mut cluster, &format!("tcp a {address}"));
    assert_eq!(who_serves(&address, 1), BTreeSet::from([1]));
    cluster.listen_for(std::time::Duration::from_millis(400));
    assert_eq!(who_serves(&address, 1), BTreeSet::from([1]));
    cluster.stop();
}

/// Mutation: announce a listener that is bound and not accepted from, or each time somebody accepts.
#[test]
fn r50_two_binds_are_told_once_each() {
    let (mut cluster, mut workers) = controlled(1);
    let first = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    let second = workers[0].serves(&mut cluster, "tcp b 127.0.0.1:0");
    workers[0].does("hold c 127.0.0.1:0");
    assert_ne!(first, second);
    assert_eq!((who_serves(&first, 3).len(), who_serves(&second, 3).len()), (1, 1));
    let story = cluster.stop();
    assert_eq!(story.addresses(), [first, second], "{story}");
}

/// Mutation: ignore the backlog; or have the last one's count.
#[test]
fn n39_the_first_workers_backlog_is_the_sockets() {
    let (mut cluster, mut workers) = controlled(2);
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0 backlog=17");
    assert_eq!(workers[1].serves(&mut cluster, "tcp a 127.0.0.1:0 backlog=99"), address);
    assert_eq!(backlog(&address), 17);
    cluster.stop();
}

/// Of a listening socket, as ss(8) tells: `LISTEN 0 17 127.0.0.1:40123 0.0.0.0:*`.
fn backlog(address: &str) -> u32 {
    let port = address.rsplit(':').next().unwrap_or_default();
    let filter = format!("sport = :{port}");
    let ss = std::process::Command::new("ss").args(["-Hltn", &filter]).output().expect("ss of iproute2");
    let text = String::from_utf8_lossy(&ss.stdout).into_owned();
    let backlog = text.split_whitespace().nth(2).and_then(|number| number.parse().ok());
    backlog.unwrap_or_else(|| panic!("what does ss say? {text:?}"))
}

/// Mutation: bind `[::]` for IPv6 alone.
#[test]
fn n40_all_addresses_are_those_of_ipv4_too() {
    let (mut cluster, mut workers) = controlled(3);
    let addresses: BTreeSet<_> = workers
        .iter_mut()
        .map(|worker| worker.serves(&mut cluster, "tcp a [::]:0 ipv6_only=false"))
        .collect();
    assert_eq!(addresses.len(), 1, "{addresses:?}");
    let port = addresses.first().and_then(|address| address.rsplit(':').next().map(str::to_owned));
    let port = port.expect("a port");
    meet(&format!("127.0.0.1:{port}"), 3, &[1, 2, 3]);
    meet(&format!("[::1]:{port}"), 3, &[1, 2, 3]);
    cluster.stop();
}

/// Mutation: ignore `ipv6_only`; leave it out of what tells sockets apart.
#[test]
fn n86_ipv6_alone_leaves_the_port_of_ipv4_to_others() {
    let (mut cluster, mut workers) = controlled(2);
    let address = workers[0].serves(&mut cluster, "tcp a [::]:0 ipv6_only=true");
    assert_eq!(workers[1].serves(&mut cluster, "tcp a [::]:0 ipv6_only=true"), address);
    let port = address.rsplit(':').next().expect("a port");
    assert!(Client::try_to(&format!("127.0.0.1:{port}")).is_none(), "refused");
    let four = format!("127.0.0.1:{port}");
    assert_eq!(workers[0].serves(&mut cluster, &format!("tcp b {four}")), four);
    assert_eq!(who_serves(&four, 1), BTreeSet::from([1]));
    meet(&format!("[::1]:{port}"), 2, &[1, 2]);
    workers[1].fails("tcp c 127.0.0.1:0 ipv6_only=true", "InvalidInput");
    cluster.stop();
}

/// Mutation: ignore `ipv6_only` where the worker binds by itself.
#[test]
fn n85_ipv6_alone_in_a_worker_leaves_the_port_of_ipv4_to_others() {
    let (mut cluster, mut workers) = controlled(2);
    let address = workers[0].does("tcp a [::]:0 reuse_port ipv6_only=true");
    workers[1].does(&format!("tcp a {address} reuse_port ipv6_only=true"));
    let port = address.rsplit(':').next().expect("a port");
    let four = format!("127.0.0.1:{port}");
    assert_eq!(workers[1].serves(&mut cluster, &format!("tcp b {four}")), four);
    assert_eq!(who_serves(&four, 2), BTreeSet::from([2]));
    meet(&format!("[::1]:{port}"), 64, &[1, 2]);
    cluster.stop();
}

/// Mutation: share what is exclusive.
#[test]
fn r51_exclusive_ports_of_the_kernels_choice_differ() {
    let (mut cluster, mut workers) = controlled(2);
    let addresses: Vec<_> =
        workers.iter_mut().map(|worker| worker.does("tcp a 127.0.0.1:0 exclusive")).collect();
    assert_ne!(addresses[0], addresses[1]);
    for (worker, address) in workers.iter().zip(&addresses) {
        assert_eq!(who_serves(address, 2), BTreeSet::from([worker.id]));
    }
    assert_eq!(listenings(&cluster, 1), 0, "no event, as in Node");
    workers[0].does("drop a");
    closes(&mut cluster, &addresses[0]);
    let story = cluster.stop();
    assert!(story.exits().all(|exit| exit.code == Some(0)), "{story}");
}

/// Mutation: as above.
#[test]
fn r52_what_is_shared_can_not_be_had_exclusively() {
    let (mut cluster, mut workers) = controlled(3);
    let address = workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    let again = format!("tcp b {address}");
    workers[0].does("drop a");
    assert_eq!(workers[0].serves(&mut cluster, &again), address);
    assert_eq!(workers[1].serves(&mut cluster, &again), address);
    workers[1].fails(&format!("tcp c {address} exclusive"), IN_USE);
    workers[2].fails(&format!("tcp c {address} exclusive"), IN_USE);
    cluster.stop();
}

/// Mutation: have the primary bind what `reuse_port` is said of.
#[test]
fn n43_r38_reuse_port_binds_in_each_worker() {
    let (mut cluster, mut workers) = controlled(2);
    let address = workers[0].does("tcp a 127.0.0.1:0 reuse_port");
    let same = format!("tcp a {address} reuse_port");
    assert_eq!(workers[1].does(&same), address);
    assert_eq!(listening_inodes(&address).len(), 2, "a socket each");
    meet(&address, 64, &[1, 2]);
    workers[0].does("drop a");
    cluster.eventually("one of them to be closed", || listening_inodes(&address).len() == 1);
    assert_eq!(who_serves(&address, 8), BTreeSet::from([2]));
    cluster.stop();
}

/// Mutation: let the primary's error end the primary, or arrive as another.
#[test]
fn n64_a_port_that_others_have_is_told_as_the_kernel_tells_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address");
    let (mut cluster, mut workers) = controlled(2);
    for worker in &mut workers {
        worker.fails(&format!("tcp a {address}"), IN_USE);
    }
    // From within what meets the error, the worker may leave.
    workers[0].does("disconnect");
    assert_eq!(cluster.exit(1).code, Some(0));
    cluster.stop();
}

/// Mutation: as above, for what `disconnect` does then.
#[test]
fn n71_disconnect_after_a_refused_listen_completes() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address");
    let (mut cluster, mut workers) = controlled(1);
    workers[0].fails(&format!("tcp a {address}"), IN_USE);
    workers[0].does("disconnect");
    let exit = cluster.exit(1);
    assert_eq!((exit.code, exit.voluntary), (Some(0), true));
    let story = cluster.ends(0);
    assert_eq!(story.life(1), ["fork", "online", "disconnect", "exit"], "{story}");
}

/// Mutation: panic in the primary, or bind something else.
#[test]
fn n42_what_is_no_address_is_an_error() {
    let (mut cluster, mut workers) = controlled(1);
    workers[0].fails("tcp a ", "InvalidInput");
    workers[0].fails("tcp a 127.0.0.1", "InvalidInput");
    workers[0].fails("tcp a 127.0.0.1:99999", "InvalidInput");
    workers[0].fails("tcp a 192.0.2.1:0", "AddrNotAvailable 99");
    workers[0].fails("unix a ", "InvalidInput");
    workers[0].serves(&mut cluster, "tcp a 127.0.0.1:0");
    cluster.stop();
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("cluster-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Mutation: leave the file's mode to the umask.
#[test]
fn n36_a_socket_file_has_the_mode_that_was_asked_for() {
    let folder = folder("n36");
    let (cluster, mut workers) = controlled(2);
    for (name, mode) in [("all", 0o777), ("own", 0o600)] {
        let path = folder.join(name);
        for worker in &mut workers {
            worker.does(&format!("unix {name} {} mode={mode:o}", path.display()));
        }
        assert_eq!(fs::metadata(&path).expect("the socket's file").mode() & 0o7777, mode);
    }
    cluster.stop();
    fs::remove_dir(folder).expect("no file is left");
}

/// Mutation: bind the path as it is, or leave its file; drop the listener without removing it.
#[test]
fn n41_a_long_relative_path_works_and_its_file_goes() {
    let folder = folder("n41").join("x".repeat(120));
    fs::create_dir_all(&folder).expect("a folder");
    let there = format!("cd {}", folder.display());
    let mut cluster = Cluster::of("net_control").workers(2).after(&there).start();
    let mut workers: Vec<_> = (1..=2).map(|id| Control::of(&mut cluster, id)).collect();
    for worker in &mut workers {
        worker.does("unix a a.sock");
    }
    let path = folder.join("a.sock");
    // By way of a descriptor, as a client in that folder would.
    let handle = fs::File::open(&folder).expect("the folder");
    let short = format!("/proc/self/fd/{}/a.sock", std::os::fd::AsRawFd::as_raw_fd(&handle));
    let mut me = String::new();
    let stream = std::os::unix::net::UnixStream::connect(short).expect("somebody listens");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stream), &mut me).expect("who serves");
    assert!(me.starts_with("worker "), "{me}");
    for worker in &mut workers {
        worker.does("drop a");
    }
    cluster.eventually("the file to be removed", || !path.exists());
    workers[0].does("unix a a.sock");
    assert!(path.exists());
    cluster.stop();
    fs::remove_dir(&folder).expect("no file is left");
}

/// Mutation: replace whatever is at the path.
#[test]
fn n26_a_path_that_others_listen_on_is_in_use() {
    let folder = folder("n26");
    let path = folder.join("s");
    let live = std::os::unix::net::UnixListener::bind(&path).expect("bind");
    let (cluster, mut workers) = controlled(2);
    let order = format!("unix a {}", path.display());
    for worker in &mut workers {
        worker.fails(&order, IN_USE);
    }
    drop(live);
    for worker in &mut workers {
        worker.does(&order);
    }
    workers[0].fails(&order, IN_USE);
    cluster.stop();
    fs::remove_dir(folder).expect("no file is left");
}
