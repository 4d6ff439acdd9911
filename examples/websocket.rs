//! An echo over WebSockets. Each connection stays with its worker; when that drains, it says goodbye.
//!
//! Run: `cargo run --release --example websocket`
//! Try: open http://127.0.0.1:8000 in two browser windows, which different workers answer; Ctrl-C.

use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, rt, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, Session};

const PAGE: &str = r#"<!doctype html><title>echo</title><input autofocus placeholder="say something"><pre></pre><script>
const socket = new WebSocket(`ws://${location.host}/echo`), input = document.querySelector("input");
const print = (line) => document.querySelector("pre").append(line + "\n");
socket.onmessage = (message) => print(message.data);
socket.onclose = (close) => print(`closed: ${close.code} ${close.reason}`);
input.onchange = () => { socket.send(input.value); input.value = ""; };
</script>"#;

async fn page() -> HttpResponse {
    HttpResponse::Ok().content_type("text/html").body(PAGE)
}

async fn upgrade(request: HttpRequest, body: web::Payload) -> Result<HttpResponse, Error> {
    let (response, session, messages) = actix_ws::handle(&request, body)?;
    rt::spawn(async move {
        // An error means that the client is gone.
        let _ = echo(session, messages.aggregate_continuations()).await;
    });
    Ok(response)
}

async fn echo(mut session: Session, mut messages: AggregatedMessageStream) -> Result<(), actix_ws::Closed> {
    session.text(format!("worker {} (pid {}) listens", cluster::worker().id(), std::process::id())).await?;
    loop {
        let message = tokio::select! {
            message = messages.recv() => message,
            // Else the drain would wait for this client until drain_timeout is over.
            () = cluster::shutdown_signal() => return session.close(Some(CloseCode::Away.into())).await,
        };
        match message {
            Some(Ok(AggregatedMessage::Text(text))) => session.text(text).await?,
            Some(Ok(AggregatedMessage::Binary(bytes))) => session.binary(bytes).await?,
            Some(Ok(AggregatedMessage::Ping(bytes))) => session.pong(&bytes).await?,
            Some(Ok(AggregatedMessage::Pong(_))) => {}
            Some(Ok(AggregatedMessage::Close(reason))) => return session.close(reason).await,
            Some(Err(_)) | None => return Ok(()),
        }
    }
}

#[cluster::main]
async fn main() -> std::io::Result<()> {
    let app = || App::new().route("/", web::get().to(page)).route("/echo", web::get().to(upgrade));
    HttpServer::new(app).bind(("127.0.0.1", 8000))?.run().await
}
