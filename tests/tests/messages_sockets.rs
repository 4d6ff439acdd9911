//! Sockets that go with messages.

use std::io::{Read, Write};
use std::net::TcpStream;

use cluster_tests::{Cluster, process};

/// Sends a request to the primary's own socket, and reads to the end of the connection.
fn request(door: &str) -> String {
    let mut socket = TcpStream::connect(door).expect("connect");
    socket.write_all(b"GET /by-hand HTTP/1.1\r\nHost: x\r\n\r\n").expect("write");
    let mut text = String::new();
    // It ends only when nobody holds the connection any more, the primary neither.
    socket.read_to_string(&mut text).expect("all of it, and its end");
    text
}

fn door(cluster: &mut Cluster) -> String {
    cluster.until("the door", |story| {
        let text = story.to_string();
        let line = text.lines().find_map(|line| line.split_once("door "))?.1;
        Some(line.trim_end_matches("\")").to_owned())
    })
}

/// N56 and R02 as well: a socket sent by hand is served there, and the client sees its end.
///
/// Mutation: keep the descriptor in the outbox after it was written.
#[test]
fn r22_r02_n56_a_socket_sent_to_a_worker_is_the_workers_alone() {
    let mut cluster = Cluster::of("sockets").start();
    let door = door(&mut cluster);
    cluster.said("read 79 hello 79");
    let before = process::descriptors(cluster.pid()).len();
    for _ in 0..20 {
        let answer = request(&door);
        assert!(answer.ends_with("worker 1 answers GET /by-hand HTTP/1.1"), "{answer}");
    }
    // When it was looked, what it has just read from was perhaps not closed.
    let primary = cluster.pid();
    cluster.eventually("no descriptor to be kept", || process::descriptors(primary).len() <= before);
    cluster.stop();
}

/// N44 as well: the primary reads what was written, and the end.
///
/// Mutation: close a sent descriptor before the kernel has it, or give it to the next message.
#[test]
fn r43_n44_eighty_sockets_sent_up_arrive_each_with_its_message() {
    let mut cluster = Cluster::of("sockets").start();
    for n in 0..80 {
        cluster.said(&format!("read {n} hello {n}"));
    }
    cluster.stop();
}

/// Mutation: drop the descriptor on its way to the callback of this very process.
#[test]
fn unclustered_a_socket_arrives_too() {
    let mut cluster = Cluster::of("sockets").workers(0).start();
    cluster.said("read 79 hello 79");
    cluster.stop();
}
