//! In a fixture's workers: the routes that the judge asks. They are of actix-web alone, so that the control serves them too.

use std::time::Duration;
use std::{env, io};

use ::cluster::actix::HttpServer;
use actix_web::{App, Error, HttpRequest, HttpResponse, Responder, web};
use actix_ws::{Message, MessageStream, Session};
use cluster_judge::content;
use tokio::time::{Instant, sleep_until};

/// Serves them on the addresses of `TEST_BIND`; without it, on a free port. `/build` answers what program this is.
///
/// # Errors
/// When an address cannot be bound.
pub async fn serve(build: &'static str) -> io::Result<()> {
    let build = move || async move { build };
    let mut server =
        HttpServer::new(move || App::new().configure(routes).route("/build", web::get().to(build)));
    for address in env::var("TEST_BIND").as_deref().unwrap_or("127.0.0.1:0").split(' ') {
        server = match address.strip_prefix("unix:") {
            Some(path) => server.bind_uds(path)?,
            None => server.bind(address)?,
        };
    }
    server.run().await
}

/// What the judge's README lists.
pub fn routes(app: &mut web::ServiceConfig) {
    app.app_data(web::PayloadConfig::new(64 << 20))
        .route("/answer/{id}/{milliseconds}", web::get().to(answer))
        .route("/bytes/{id}/{length}", web::get().to(bytes))
        .route("/echo/{id}", web::post().to(echo))
        .route("/ws", web::get().to(upgrade));
}

async fn answer(order: web::Path<(u64, u64)>) -> impl Responder {
    let (id, milliseconds) = order.into_inner();
    sleep_until(Instant::now() + Duration::from_millis(milliseconds)).await;
    content::answer(id)
}

async fn bytes(order: web::Path<(u64, usize)>) -> impl Responder {
    content::bytes(order.0, order.1)
}

async fn echo(id: web::Path<u64>, body: web::Bytes) -> impl Responder {
    content::receipt(*id, &body)
}

async fn upgrade(request: HttpRequest, body: web::Payload) -> Result<HttpResponse, Error> {
    let (response, session, messages) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(async move {
        // An error means that the client is gone.
        let _ = talk(session, messages).await;
    });
    Ok(response)
}

/// Echoes until the client closes; when this worker leaves, it asks the client to.
async fn talk(mut session: Session, mut messages: MessageStream) -> Result<(), actix_ws::Closed> {
    let mut bye = false;
    loop {
        let message = tokio::select! {
            message = messages.recv() => message,
            () = ::cluster::shutdown_signal(), if !bye => {
                bye = true;
                session.text("bye").await?;
                continue;
            }
        };
        match message {
            Some(Ok(Message::Text(text))) => session.text(text).await?,
            Some(Ok(Message::Ping(bytes))) => session.pong(&bytes).await?,
            Some(Ok(Message::Close(reason))) => return session.close(reason).await,
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Ok(()),
        }
    }
}
