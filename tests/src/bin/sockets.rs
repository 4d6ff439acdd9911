//! Sockets go by hand: the primary accepts, worker 1 answers; worker 1 sends up what the primary reads.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use cluster::{Primary, Worker};
use cluster_tests::announce;

fn setup(primary: &mut Primary) {
    announce::events(primary);
    let door = TcpListener::bind("127.0.0.1:0").expect("bind");
    door.set_nonblocking(true).expect("not to block in the primary");
    println!("door {}", door.local_addr().expect("an address"));
    primary.every(Duration::from_millis(1), move || {
        while let (Ok((socket, _)), Some(worker)) = (door.accept(), cluster::workers().pop()) {
            worker.send_with("serve", socket).expect("send a socket down");
        }
    });
    primary.on_message_with(|_: Worker, n: u32, fd| {
        let mut text = String::new();
        fd.map(|fd| UnixStream::from(fd).read_to_string(&mut text));
        println!("read {n} {text}");
    });
}

#[cluster::main(workers = 1, primary = setup)]
async fn main() {
    let worker = cluster::worker();
    worker.ready();
    for n in 0..80u32 {
        let (theirs, mut ours) = UnixStream::pair().expect("a pair");
        ours.write_all(format!("hello {n}").as_bytes()).expect("write before it is sent");
        drop(ours);
        worker.send_with(n, theirs).expect("send a socket up");
    }
    let mut messages = worker.messages::<String>();
    while let Some((_, Some(fd))) = messages.recv_with().await {
        cluster_tests::serve::one_request(TcpStream::from(fd), &worker.id().to_string());
    }
}
