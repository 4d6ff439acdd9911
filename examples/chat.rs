//! A chat over WebSockets. Each client stays with its worker; rooms span all of them, since each line goes through the
//! primary to every worker.
//!
//! Run: `cargo run --release --example chat`
//! Try: open http://127.0.0.1:8000/#tea/Ann and …/#tea/Bob, whom different workers serve; `kill -9` a worker; Ctrl-C.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, State};
use axum::response::{Html, Response};
use axum::routing::{any, get};
use cluster::net::TcpListener;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>chat</title><input placeholder="say something"><pre></pre><script>
const hash = decodeURIComponent(location.hash.slice(1)) || "lobby";
const [room, name = prompt(`Your name in ${hash}?`) || "somebody"] = hash.split("/");
const path = [room, name].map(encodeURIComponent).join("/"), input = document.querySelector("input");
const socket = new WebSocket(`ws://${location.host}/rooms/${path}`);
const print = (line) => document.querySelector("pre").append(line + "\n");
socket.onmessage = (message) => print(message.data);
socket.onclose = (close) => print(`closed: ${close.code} ${close.reason}`);
input.onchange = () => { socket.send(input.value); input.value = ""; };
</script>"#;

/// How many lines may wait for a client, and how long one line may take to be written.
const QUEUE: usize = 64;
const PATIENCE: Duration = Duration::from_secs(2);

/// What is said in a room; from a worker to the primary, and from there to all workers.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Line {
    room: String,
    text: String,
}

/// Runs in the primary. All lines pass here, so that all clients see them in the same order.
pub(crate) fn relay(_: cluster::Worker, line: Line) {
    // One that is not up yet, or is gone, has no clients.
    let _ = cluster::broadcast(&line);
}

/// The clients of this worker, room by room.
#[derive(Clone, Default)]
struct Rooms(Arc<Mutex<HashMap<String, Vec<Sender<Utf8Bytes>>>>>);

impl Rooms {
    fn enter(&self, room: &str) -> Receiver<Utf8Bytes> {
        let (sender, lines) = channel(QUEUE);
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.entry(room.to_owned()).or_default().push(sender);
        lines
    }

    /// Never waits: a client whose queue is full is forgotten, and its connection is closed when it has read what is
    /// there.
    fn deliver(&self, line: Line) {
        let text = Utf8Bytes::from(line.text);
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = rooms.get_mut(&line.room) {
            clients.retain(|client| client.try_send(text.clone()).is_ok());
            if clients.is_empty() {
                rooms.remove(&line.room);
            }
        }
    }
}

async fn join(
    Path((room, name)): Path<(String, String)>,
    State((rooms, open)): State<(Rooms, Sender<()>)>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.max_message_size(4096).on_upgrade(async move |socket| {
        stay(socket, room, name, rooms).await;
        drop(open);
    })
}

/// A client's whole life.
async fn stay(mut socket: WebSocket, room: String, name: String, rooms: Rooms) {
    // If the primary is gone, so is this worker in a moment.
    let say = |text| drop(cluster::worker().send(Line { room: room.clone(), text }));
    let mut lines = rooms.enter(&room);
    say(format!("* {name} joins, at worker {}", cluster::worker().id()));
    let mut leaving = pin!(cluster::shutdown_signal());
    let close = loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => match timeout(PATIENCE, socket.send(Message::Text(line))).await {
                    Ok(Ok(())) => {}
                    // It is gone, or does not read.
                    _ => break None,
                },
                None => break Some((close_code::POLICY, "too slow")),
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => say(format!("{name}: {text}")),
                Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                Some(Ok(_)) => {}
            },
            () = &mut leaving => break Some((close_code::AWAY, "the server leaves")),
        }
    };
    say(format!("* {name} leaves"));
    if let Some((code, reason)) = close {
        let frame = CloseFrame { code, reason: reason.into() };
        // It may be gone already.
        let _ = timeout(PATIENCE, socket.send(Message::Close(Some(frame)))).await;
    }
}

pub(crate) async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let rooms = Rooms::default();
    // Held by each client: axum does not wait for what is no longer HTTP.
    let (open, mut closed) = channel(1);
    let app = Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/rooms/{room}/{name}", any(join))
        .with_state((rooms.clone(), open));
    tokio::spawn(async move {
        let mut lines = cluster::worker().messages();
        while let Some(line) = lines.recv().await {
            rooms.deliver(line);
        }
    });
    axum::serve(listener, app).with_graceful_shutdown(cluster::shutdown_signal()).await?;
    // The last client has said goodbye.
    closed.recv().await;
    Ok(())
}

#[cluster::main(on_message = relay)]
async fn main() -> std::io::Result<()> {
    serve(TcpListener::bind("127.0.0.1:8000").await?).await
}
