//! The example `chat`: rooms that span workers.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use cluster_tests::client::ask;
use cluster_tests::{Cluster, Signal};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

struct Client {
    socket: WebSocket<TcpStream>,
    name: &'static str,
}

impl Client {
    /// Joins, and sees that it does, and where; whoever else joined just now may still be told of.
    fn join(address: &str, room: &str, name: &'static str, worker: u64) -> Self {
        let mut client = Self { socket: connect(address, room, name).expect("a WebSocket"), name };
        while client.next() != Message::text(format!("* {name} joins, at worker {worker}")) {}
        client
    }

    fn says(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    fn next(&mut self) -> Message {
        self.socket.read().unwrap_or_else(|error| panic!("{} waits in vain: {error}", self.name))
    }

    /// This is the next that it sees.
    fn sees(&mut self, text: &str) {
        assert_eq!(self.next(), Message::text(text), "{}", self.name);
    }

    fn sees_the_server_leave(mut self) {
        let Message::Close(Some(frame)) = self.next() else { panic!("no goodbye for {}", self.name) };
        assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Away, "the server leaves"));
        // The answer to it.
        while self.socket.read().is_ok() {}
    }
}

fn connect(address: &str, room: &str, name: &str) -> io::Result<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let url = format!("ws://{address}/rooms/{room}/{name}");
    Ok(tungstenite::client(url, stream).map_err(io::Error::other)?.0)
}

/// Mutation: relay to the worker only from which a line came; deliver lines to all rooms.
#[test]
fn chat_rooms_span_workers_and_end_well() {
    let mut cluster = Cluster::start("chat", 2);
    let address = cluster.up(2);
    let page = cluster_tests::client::attempt(&address, "/").reply();
    assert!(page.status == 200 && page.body.contains("new WebSocket("), "{page:?}");
    // The page was the first worker's or the second's: then it is the other's turn.
    let mut ann = Client { socket: connect(&address, "tea", "ann").expect("a WebSocket"), name: "ann" };
    let Message::Text(joined) = ann.next() else { panic!("ann sees herself join") };
    let at: u64 = joined.rsplit(' ').next().and_then(|id| id.parse().ok()).expect("a worker's id");
    let mut bob = Client::join(&address, "tea", "bob", 3 - at);
    ann.sees(&format!("* bob joins, at worker {}", 3 - at));
    let mut eve = Client::join(&address, "milk", "eve", at);

    bob.says("hello");
    ann.sees("bob: hello");
    bob.sees("bob: hello");
    ann.says("hi");
    ann.sees("ann: hi");
    bob.sees("ann: hi");
    // The primary has them in one order: nothing of the other room has come before this, or will.
    eve.says("hm");
    eve.sees("eve: hm");

    bob.socket.close(None).expect("close");
    while bob.socket.read().is_ok() {}
    ann.sees("* bob leaves");

    cluster.signal(Signal::TERM);
    ann.sees_the_server_leave();
    eve.sees_the_server_leave();
    cluster.ends(0);
}

/// Mutation: let queues grow without a limit, and writes take as long as they like.
#[test]
fn chat_drops_a_client_that_does_not_read() {
    let mut cluster = Cluster::start("chat", 2);
    let address = cluster.up(2);
    let mut deaf = Client { socket: connect(&address, "tea", "deaf").expect("a WebSocket"), name: "deaf" };
    // Another worker's word may overtake that of hers.
    assert!(matches!(deaf.next(), Message::Text(text) if text.contains("deaf joins")));
    let mut ann = Client { socket: connect(&address, "tea", "ann").expect("a WebSocket"), name: "ann" };
    while !matches!(ann.next(), Message::Text(text) if text.contains("ann joins")) {}
    // More than sockets hold, one by one, since she would be too slow herself otherwise.
    let line = "x".repeat(4000);
    let told = (0..100_000).any(|_| {
        ann.says(&line);
        let said = ann.next();
        said == Message::text("* deaf leaves") || {
            assert_eq!(said, Message::text(format!("ann: {line}")));
            false
        }
    });
    assert!(told, "a client that does not read stays");
    ann.socket.get_ref().shutdown(std::net::Shutdown::Both).expect("hang up");
    drop(deaf);
    assert_eq!(ask(&address, "/").status, 200, "the worker goes on");
    cluster.stop();
}
