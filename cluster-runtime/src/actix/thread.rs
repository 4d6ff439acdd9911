//! One serving thread: builds its applications, opens its lane, serves what comes, drains.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use actix_rt::Arbiter;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, sleep_until, timeout};

use super::drain::{Drain, Stage};
use super::run::{Attendance, Control};
use super::service::{Built, HttpSettings, Recipe};
use crate::race::unless;
use crate::worker::{self, Account, LAST_CALL, Lane};

/// What a serving thread is given.
pub(super) struct Seat {
    pub(super) number: usize,
    pub(super) recipes: Vec<Box<dyn Recipe>>,
    pub(super) http: Arc<HttpSettings>,
    pub(super) account: Account,
    pub(super) max_blocking_threads: usize,
    pub(super) shutdown_timeout: Option<Duration>,
    pub(super) shutdown_signal: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Inside an actix system the thread is one of its arbiters, so that actors work in request code. Elsewhere it
/// runs a tokio runtime for local tasks, which costs less.
pub(super) fn spawn(seat: Seat, in_system: bool, attendance: Attendance) -> io::Result<()> {
    let mut runtime = Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(seat.max_blocking_threads);
    if in_system {
        let arbiter = Arbiter::try_with_tokio_rt(move || runtime.build())?;
        arbiter.spawn_fn(move || drop(spawn_local(in_arbiter(seat, attendance))));
    } else {
        let name = format!("http {}", seat.number);
        std::thread::Builder::new().name(name).spawn(move || in_thread(runtime, seat, attendance))?;
    }
    Ok(())
}

async fn in_arbiter(seat: Seat, attendance: Attendance) {
    /// The arbiter ends with its server, and also where that panics.
    struct Stop;

    impl Drop for Stop {
        fn drop(&mut self) {
            if let Some(arbiter) = Arbiter::try_current() {
                arbiter.stop();
            }
        }
    }

    let _stop = Stop;
    // Apart: the task is moved from stack to stack before it is where it stays, and each page that it touches is the worker's own.
    let outcome = Box::pin(serve(seat, attendance.control())).await;
    attendance.end(outcome);
}

fn in_thread(mut runtime: Builder, seat: Seat, attendance: Attendance) {
    let outcome = runtime.build_local(LocalOptions::default()).and_then(|runtime| {
        let served = catch_unwind(AssertUnwindSafe(|| runtime.block_on(serve(seat, attendance.control()))));
        // Not dropped: that waits, without a limit, for blocking tasks that nobody waits for any more.
        runtime.shutdown_background();
        served.unwrap_or_else(|_| Err(io::Error::other("a serving thread panicked")))
    });
    attendance.end(outcome);
}

/// A serving thread's whole life.
async fn serve(mut seat: Seat, control: Arc<Control>) -> io::Result<()> {
    if let Some(signal) = seat.shutdown_signal.take() {
        let control = Arc::clone(&control);
        spawn_local(async move {
            signal.await;
            control.drain();
        });
    }
    let listeners: Vec<_> = seat.recipes.iter().map(|recipe| recipe.site().listener.clone()).collect();
    let (stage, drain) = Drain::new();
    let building = Services::build(seat.recipes, &seat.http, &drain);
    let stopped = unless(control.stopping(), worker::drain_has_begun());
    let Some(services) = unless(stopped, building).await else { return Ok(()) };
    let services = services?;

    // Opening the lane says "listening": not before everything that a connection meets is there.
    // Before the primary can deal the first connection to it, and say that it is to go.
    worker::concern();
    let mut lane = worker::open_lane(&listeners, &seat.account).await?;
    lane.serve_here();
    control.enlist(lane.remote());

    let mut connections = JoinSet::new();
    let work = async {
        let received = receive(&mut lane, &services, &mut connections);
        let outcome = unless(worker::drain_is_over(), received).await.unwrap_or(Ok(()));
        // What it may still bring is for others, now and not when the last connection here has ended.
        drop(lane);
        if outcome.is_err() {
            control.drain();
        }
        finish(&mut connections, &stage, seat.shutdown_timeout).await;
        outcome
    };
    let outcome = unless(control.dropping(), work).await.unwrap_or(Ok(()));
    // Whoever is told of the end finds every socket closed.
    connections.shutdown().await;
    outcome
}

/// Serves until nothing follows.
async fn receive(lane: &mut Lane, services: &Services, connections: &mut JoinSet<()>) -> io::Result<()> {
    loop {
        services.ready().await?;
        let Some(connection) = lane.receive().await? else { return Ok(()) };
        if let Some((_, service)) = services.0.iter().find(|(listener, _)| *listener == connection.listener) {
            connections.spawn_local(service.serve(connection));
        }
        // What has ended would otherwise be kept until the drain.
        while connections.try_join_next().is_some() {}
    }
}

/// Lets the connections end, as long as there is time.
async fn finish(connections: &mut JoinSet<()>, stage: &watch::Sender<Stage>, limit: Option<Duration>) {
    let ended = async {
        stage.send_replace(Stage::LastCall);
        if timeout(LAST_CALL, all_of(connections)).await.is_err() {
            after_others(connections.len()).await;
            stage.send_replace(Stage::Closing);
            all_of(connections).await;
        }
    };
    if unless(time_is_over(limit), ended).await.is_none() && !connections.is_empty() {
        tracing::warn!(
            connections = connections.len(),
            "the time to drain is over: dropping what is still open"
        );
    }
}

/// Lets all of so many tasks go first that are to be polled by now. After a thread stood still its timers are
/// over, and what they are a limit of may have come in time: then its task knows it as soon as it is asked.
async fn after_others(tasks: usize) {
    // This runtime, of one thread, asks sixty-one and the kernel before it comes back to who yields.
    for _ in 0..tasks / 61 + 2 {
        tokio::task::yield_now().await;
    }
}

/// For a server that is stopped while its worker serves on, as in actix-web.
const OWN_LIMIT: Duration = Duration::from_secs(30);

/// When this server has had its own time, or the worker has had its: which may begin to drain only after the server
/// did, or be told to hurry.
async fn time_is_over(limit: Option<Duration>) {
    let limit = limit.or_else(|| (!worker::is_draining()).then_some(OWN_LIMIT));
    let own = async {
        match limit.and_then(|limit| Instant::now().checked_add(limit)) {
            Some(deadline) => sleep_until(deadline).await,
            None => pending().await,
        }
    };
    unless(worker::drain_is_over(), own).await;
}

async fn all_of(connections: &mut JoinSet<()>) {
    while connections.join_next().await.is_some() {}
}

/// This thread's service for each listener.
struct Services(Vec<Built>);

impl Services {
    async fn build(
        recipes: Vec<Box<dyn Recipe>>,
        http: &Arc<HttpSettings>,
        drain: &Drain,
    ) -> io::Result<Services> {
        let mut services = Vec::with_capacity(recipes.len());
        for recipe in recipes {
            services.push(recipe.build(Arc::clone(http), drain.clone()).await?);
        }
        Ok(Services(services))
    }

    /// All of them, since the next connection may be for any. Until then connections wait where others can
    /// still be given them.
    async fn ready(&self) -> io::Result<()> {
        poll_fn(|cx| {
            for (_, service) in &self.0 {
                ready!(service.poll_ready(cx))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}
