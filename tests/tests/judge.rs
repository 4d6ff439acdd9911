//! The judge judges: each kind of harm that a claim says never happens is seen when it does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use cluster_tests::client::{Connection, Outcome, ask, attempt};
use cluster_tests::load::Load;
use cluster_tests::{Cluster, Signal, process};

/// A server that reads a request and answers with these bytes, for each connection in turn.
fn server(answers: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("its address").to_string();
    thread::spawn(move || {
        for answer in answers.iter().cycle() {
            let Ok((stream, _)) = listener.accept() else { return };
            // A client that has gone is no concern of this server.
            let _ = serve(stream, answer);
        }
    });
    address
}

fn serve(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut some = [0; 256];
    while !request.ends_with(b"\r\n\r\n") {
        let n = stream.read(&mut some)?;
        request.extend_from_slice(&some[..n]);
    }
    stream.write_all(answer.as_bytes())
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nworker 1";
const SHORT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nwork";
const WRONG: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_loss_a_cut_and_an_error_are_told_apart() {
    let load = Load::on(&server(&[GOOD, SHORT, "", WRONG]), 1);
    load.served(3);
    let tally = load.stop();
    assert!(tally.truncated >= 2 && tally.lost >= 2 && tally.wrong >= 2, "{tally:?}");
    assert_eq!(tally.harmed(), tally.truncated + tally.lost + tally.wrong, "{tally:?}");
    assert_eq!(tally.total(), tally.ok + tally.harmed(), "{tally:?}");
}

#[test]
fn a_refusal_is_told_from_a_loss() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("its address").to_string();
    drop(listener);
    assert_eq!(attempt(&address, "/"), Outcome::Refused);
    assert_eq!(attempt("unix:/nowhere/at/all", "/"), Outcome::Refused);
}

#[test]
fn silence_is_told_from_an_end() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("bind");
    let mut connection = Connection::to(&silent.local_addr().expect("its address").to_string());
    connection.patience(Duration::from_millis(50));
    assert_eq!(connection.read_to_end(), Outcome::TimedOut);
    assert!(!connection.is_closed_within(Duration::from_millis(50)));
    drop(silent);
    assert!(connection.is_closed_within(Duration::from_secs(5)));
}

#[test]
#[should_panic(expected = "some process still holds the cluster's standard output")]
fn a_process_that_is_left_fails_the_audit() {
    let mut cluster = Cluster::start("serve", 1);
    ask(&cluster.up(1), "/grandchild");
    cluster.stop();
}

#[test]
#[should_panic(expected = "unexpected in the log")]
fn a_line_that_nobody_announced_fails_the_audit() {
    Cluster::of("cannot_boot").workers(1).env("TEST_HOW", "panic").start().ends(101);
}

#[test]
#[should_panic(expected = "expected in the log, never came")]
fn an_announced_line_that_never_came_fails_the_audit() {
    let mut cluster = Cluster::start("serve", 1);
    cluster.expect_log("something that no cluster says");
    cluster.stop();
}

#[test]
#[should_panic(expected = "should have ended with code 0")]
fn another_status_than_the_stated_one_fails_the_audit() {
    let cluster = Cluster::start("serve", 1);
    process::signal(cluster.pid(), Signal::KILL);
    cluster.ends(0);
}
