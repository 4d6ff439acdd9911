//! A running server: its threads, and the handles by which others watch and stop it.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_rt::System;
use tokio::sync::watch;

use super::service::{HttpSettings, Recipe};
use super::thread::{self, Seat};
use crate::worker::{Account, LaneRemote};

/// All that `run()` needs to know.
pub(super) struct Plan {
    pub(super) recipes: Vec<Box<dyn Recipe>>,
    pub(super) http: HttpSettings,
    pub(super) threads: usize,
    pub(super) max_blocking_threads: usize,
    pub(super) max_connections: usize,
    pub(super) shutdown_timeout: Option<Duration>,
    pub(super) shutdown_signal: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pub(super) system_exit: bool,
}

pub(super) fn start(mut plan: Plan) -> Server {
    let system = System::try_current();
    let control = Arc::new(Control {
        lanes: Mutex::new(Vec::new()),
        order: watch::Sender::new(Order::Serve),
        running: watch::Sender::new(plan.threads),
        failure: Mutex::new(None),
        exits: system.clone().filter(|_| plan.system_exit),
    });
    let (http, account) = (Arc::new(plan.http), Account::new(plan.max_connections));
    for number in 0..plan.threads {
        let seat = Seat {
            number,
            recipes: plan.recipes.iter().map(|recipe| recipe.for_thread()).collect(),
            http: Arc::clone(&http),
            account: account.clone(),
            max_blocking_threads: plan.max_blocking_threads,
            shutdown_timeout: plan.shutdown_timeout,
            // Any thread would do; there is always a first.
            shutdown_signal: plan.shutdown_signal.take(),
        };
        if let Err(error) =
            thread::spawn(seat, system.is_some(), Attendance { control: Arc::clone(&control), outcome: None })
        {
            // The attendance that was lost with it has left a vaguer word, which nobody has read yet.
            let error = io::Error::new(error.kind(), format!("starting serving thread {number}: {error}"));
            *lock(&control.failure) = Some(error);
        }
    }
    let ended = Arc::clone(&control).ended();
    Server { handle: ServerHandle(control), ended: Box::pin(ended) }
}

/// A running server, in place of [`actix_web::dev::Server`].
///
/// Its threads run by themselves from [`HttpServer::run`](super::HttpServer::run) on: awaiting it is waiting
/// for the end. It resolves to `Ok` after a drain or a stop. It resolves to the error where an application
/// could not be built, a serving thread panicked, or connections could no longer be received, after the
/// other threads have drained.
///
/// Dropping it before its end drops its connections, as with actix-web.
#[must_use = "dropping a running server stops it at once"]
pub struct Server {
    handle: ServerHandle,
    ended: Pin<Box<dyn Future<Output = io::Result<()>> + Send>>,
}

impl Server {
    /// A handle to pause and stop this server, from any thread.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }
}

impl Future for Server {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.ended.as_mut().poll(cx)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.0.order(Order::Drop);
    }
}

/// Pauses and stops a [`Server`] of this process; the other workers go on. In place of
/// [`actix_web::dev::ServerHandle`].
///
/// What a method asks for is on its way when the method returns. The future only waits for it.
#[derive(Clone)]
pub struct ServerHandle(Arc<Control>);

impl ServerHandle {
    /// Takes no new connections until [`resume`](Self::resume). Open ones stay. A worker that is paused
    /// longer than its lane has room has the primary give its share to others.
    pub fn pause(&self) -> impl Future<Output = ()> + use<> {
        self.0.order(Order::Pause);
        std::future::ready(())
    }

    /// Takes connections again.
    pub fn resume(&self) -> impl Future<Output = ()> + use<> {
        self.0.order(Order::Serve);
        std::future::ready(())
    }

    /// Stops the server, and waits for its end: gracefully, within
    /// [`shutdown_timeout`](super::HttpServer::shutdown_timeout), or dropping its connections at once.
    pub fn stop(&self, graceful: bool) -> impl Future<Output = ()> + use<> {
        self.0.order(if graceful { Order::Drain } else { Order::Drop });
        let mut running = self.0.running.subscribe();
        async move {
            let _ = running.wait_for(|threads| *threads == 0).await;
        }
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").field("threads", &*self.0.running.borrow()).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Order {
    Serve,
    Pause,
    Drain,
    Drop,
}

/// What handles order and threads obey.
pub(super) struct Control {
    lanes: Mutex<Vec<LaneRemote>>,
    /// Changes only under the lock of `lanes`, so that no lane misses an order while it opens.
    order: watch::Sender<Order>,
    running: watch::Sender<usize>,
    failure: Mutex<Option<io::Error>>,
    /// The actix system that ends with this server.
    exits: Option<System>,
}

impl Control {
    fn order(&self, order: Order) {
        let lanes = lock(&self.lanes);
        let current = *self.order.borrow();
        // A drain can only turn into a drop, whatever is asked.
        if order == current || (current >= Order::Drain && order < current) {
            return;
        }
        self.order.send_replace(order);
        lanes.iter().for_each(|lane| obey(lane, order));
    }

    /// Puts a thread's lane under the orders.
    pub(super) fn enlist(&self, lane: LaneRemote) {
        let mut lanes = lock(&self.lanes);
        obey(&lane, *self.order.borrow());
        lanes.push(lane);
    }

    pub(super) fn drain(&self) {
        self.order(Order::Drain);
    }

    /// Ends when the server is to stop, one way or the other.
    pub(super) async fn stopping(&self) {
        let _ = self.order.subscribe().wait_for(|order| *order >= Order::Drain).await;
    }

    /// Ends when the server is to drop its connections.
    pub(super) async fn dropping(&self) {
        let _ = self.order.subscribe().wait_for(|order| *order == Order::Drop).await;
    }

    async fn ended(self: Arc<Self>) -> io::Result<()> {
        let _ = self.running.subscribe().wait_for(|threads| *threads == 0).await;
        lock(&self.failure).take().map_or(Ok(()), Err)
    }
}

fn obey(lane: &LaneRemote, order: Order) {
    match order {
        Order::Serve => lane.resume(),
        Order::Pause => lane.pause(),
        Order::Drain | Order::Drop => lane.close(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread's word that it runs. A panic drops it without a result, and so does an actix system that stops its
/// threads.
pub(super) struct Attendance {
    control: Arc<Control>,
    outcome: Option<io::Result<()>>,
}

impl Attendance {
    pub(super) fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    pub(super) fn end(mut self, outcome: io::Result<()>) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let control = &self.control;
        let early = || {
            Err(io::Error::other("a serving thread ended early: it panicked, or its actix system stopped"))
        };
        if let Err(error) = self.outcome.take().unwrap_or_else(early) {
            lock(&control.failure).get_or_insert(error);
            // Half a server is worse than none: whoever waits for it can start it anew.
            control.drain();
        }
        let mut last = false;
        control.running.send_modify(|threads| {
            *threads -= 1;
            last = *threads == 0;
        });
        if last && let Some(system) = &control.exits {
            system.stop();
        }
    }
}
