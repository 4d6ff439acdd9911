//! In a fixture's workers: the body of `main`, with the routes that a test drives a worker with.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::{env, hint, thread};

use ::cluster::actix::HttpServer;
use actix_web::{App, HttpResponse, Responder, web};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::announce::Order;

/// What this process returns in the end, if a test asked for it by `/leave/CODE`.
static FINAL: AtomicI32 = AtomicI32::new(0);

/// Serves all routes on the addresses of `TEST_BIND`; without it, on a free port. Prints what the primary tells.
///
/// # Errors
/// When an address cannot be bound.
pub async fn all() -> io::Result<()> {
    let heard = actix_web::rt::spawn(hear());
    let mut server = HttpServer::new(|| App::new().configure(routes));
    for address in env::var("TEST_BIND").as_deref().unwrap_or("127.0.0.1:0").split(' ') {
        server = match address.split_once(':') {
            Some(("unix", path)) => server.bind_uds(path)?,
            Some(("name", name)) => server.bind_activated(name)?,
            _ => server.bind(address)?,
        };
    }
    server.run().await?;
    heard.await.map_err(io::Error::other)?;
    match FINAL.load(Ordering::Relaxed) {
        0 => Ok(()),
        code => process::exit(code),
    }
}

/// The routes of every serving fixture.
pub fn routes(app: &mut web::ServiceConfig) {
    app.route("/", web::get().to(who))
        .route("/echo", web::post().to(echo))
        .route("/say/{text}", web::get().to(|text: web::Path<String>| order(Order::Say(text.into_inner()))))
        .route("/tell/{id}/{text}", web::get().to(tell))
        .route("/disconnect/{id}", web::get().to(|id: web::Path<u64>| order(Order::Disconnect(*id))))
        .route(
            "/kill/{id}/{signal}",
            web::get().to(|at: web::Path<(u64, i32)>| order(Order::Kill(at.0, at.1))),
        )
        .route("/fork", web::get().to(|| order(Order::Fork)))
        .route("/reload", web::get().to(|| order(Order::Reload)))
        .route("/upgrade", web::get().to(|| order(Order::Upgrade)))
        .route("/scale/{workers}", web::get().to(|workers: web::Path<usize>| order(Order::Scale(*workers))))
        .route("/disconnect-all", web::get().to(|| order(Order::DisconnectAll)))
        .route("/exit-primary/{code}", web::get().to(|code: web::Path<i32>| order(Order::ExitPrimary(*code))))
        .route("/abort-primary", web::get().to(|| order(Order::AbortPrimary)))
        .route("/exit/{code}", web::get().to(exit))
        .route("/leave/{code}", web::get().to(leave))
        .route("/abort", web::get().to(abort))
        .route("/spin", web::get().to(spin))
        .route("/leak/{megabytes}", web::get().to(leak))
        .route("/hang", web::get().to(hang))
        .route("/limit/{descriptors}", web::get().to(limit))
        .route("/health", web::get().to(health))
        .route("/orphans/{count}", web::get().to(orphans))
        .route("/variable/{name}", web::get().to(variable))
        .route("/grandchild", web::get().to(grandchild))
        .route("/again", web::get().to(again));
}

/// `worker 1 slot 0 pid 123 generation 0`
#[must_use]
pub fn me() -> String {
    let worker = ::cluster::worker();
    let (id, slot, pid, generation) = (worker.id(), worker.slot(), worker.pid(), worker.generation());
    format!("worker {id} slot {slot} pid {pid} generation {generation}")
}

async fn who() -> impl Responder {
    me()
}

/// Answers when the whole body has come, so that the client decides how long this worker is busy.
async fn echo(body: web::Bytes) -> impl Responder {
    format!("{} body {}", me(), String::from_utf8_lossy(&body))
}

async fn order(order: Order) -> impl Responder {
    match ::cluster::worker().send(order) {
        Ok(()) => me(),
        Err(error) => format!("not sent: {error}"),
    }
}

async fn tell(to: web::Path<(u64, String)>) -> impl Responder {
    let (id, text) = to.into_inner();
    order(Order::Tell(id, text)).await
}

/// `heard 1 hello`, for each message from the primary; `heard 1 the end` when no more will come.
async fn hear() {
    let mut messages = ::cluster::worker().messages::<String>();
    while let Some(text) = messages.recv().await {
        println!("heard {} {text}", ::cluster::worker().id());
    }
    println!("heard {} the end", ::cluster::worker().id());
}

async fn exit(code: web::Path<i32>) -> HttpResponse {
    process::exit(*code)
}

async fn leave(code: web::Path<i32>) -> impl Responder {
    FINAL.store(*code, Ordering::Relaxed);
    ::cluster::worker().disconnect();
    me()
}

async fn abort() -> HttpResponse {
    process::abort()
}

/// Never lets the runtime have a turn again.
async fn spin() -> HttpResponse {
    println!("spinning {}", ::cluster::worker().id());
    loop {
        hint::spin_loop();
    }
}

/// Has so much more memory from now on, for itself alone.
async fn leak(megabytes: web::Path<usize>) -> impl Responder {
    hint::black_box(vec![1u8; *megabytes << 20].leak());
    me()
}

/// As [`spin`], and waits all the while; `hanging 1`.
async fn hang() -> HttpResponse {
    println!("hanging {}", ::cluster::worker().id());
    loop {
        thread::park();
    }
}

/// Lets this worker have so many descriptors from now on.
async fn limit(descriptors: web::Path<u64>) -> impl Responder {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(*descriptors), maximum }).expect("lower a limit");
    me()
}

/// As a load balancer asks it.
async fn health() -> HttpResponse {
    match ::cluster::worker().is_stopping() {
        false => HttpResponse::Ok().body(me()),
        true => HttpResponse::ServiceUnavailable().body(me()),
    }
}

/// Starts so many processes that end when nobody is left to wait for them.
async fn orphans(count: web::Path<u32>) -> impl Responder {
    let script = "i=0; while [ $i -lt $0 ]; do sleep 0.1 & i=$((i+1)); done";
    let ended = Command::new("sh").args(["-c", script, &count.to_string()]).status();
    format!("{} {}", me(), ended.expect("start a shell"))
}

/// What the environment has here: `NAME=value`, or `NAME` where it has nothing.
async fn variable(name: web::Path<String>) -> impl Responder {
    match env::var(&*name) {
        Ok(value) => format!("{name}={value}"),
        Err(_) => name.into_inner(),
    }
}

/// Starts a process that outlives the request; `grandchild 123`.
#[expect(clippy::zombie_processes, reason = "it outlives the request; the test ends it")]
async fn grandchild() -> impl Responder {
    let child = Command::new("sleep").arg("1000").spawn().expect("start sleep");
    format!("{} grandchild {}", me(), child.id())
}

/// Starts this program once more, as a worker's child; `primary 123 listening 127.0.0.1:40124`.
#[expect(clippy::zombie_processes, reason = "it outlives the request; the test ends it")]
async fn again() -> impl Responder {
    let program = env::current_exe().expect("the path of this program");
    let mut child = Command::new(program).stdout(Stdio::piped()).spawn().expect("start this program");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let listening = lines.find(|line| line.starts_with("listening ")).unwrap_or_default();
    // It goes on printing; nobody is interested, yet somebody has to read.
    thread::spawn(|| lines.for_each(drop));
    let address = listening.split(' ').nth(3).unwrap_or("nothing").to_owned();
    format!("{} primary {} listening {address}", me(), child.id())
}

/// Reads one request and answers it by hand, with who answers; then closes the connection.
///
/// # Panics
/// Where the socket fails.
pub fn one_request(socket: TcpStream, who: &str) {
    socket.set_nonblocking(false).expect("a socket that waits");
    let mut lines = BufReader::new(&socket).lines().map_while(Result::ok);
    let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
    lines.find(String::is_empty);
    let body = format!("worker {who} answers {first}");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    (&socket).write_all((head + &body).as_bytes()).expect("answer");
}
