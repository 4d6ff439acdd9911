//! The kernel says no, or a process dies in the middle of a system call: strace makes it so.

mod births;
mod crashes;
mod hand_off;
mod seeded;
mod start;

use cluster_tests::client::Connection;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

/// So many clients that have asked and not looked for an answer.
fn crowd(address: &str, clients: usize) -> Vec<Connection> {
    let mut clients: Vec<_> = (0..clients).map(|_| Connection::to(address)).collect();
    clients.iter_mut().for_each(|client| client.write(GET).expect("write a request"));
    clients
}
