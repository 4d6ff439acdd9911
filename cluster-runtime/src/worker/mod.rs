//! A worker: what a process is after its birth.
//!
//! A connection's way through it: `receive` (off the lane) → the user's server → `account` (closed, given back).
//! Its end: `drain`. Messages: `say` → `link` (the channel) → `inbox`, `question`.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use self::drain::Drain;
use self::inbox::{Inbox, Messages};
use self::link::Link;
use self::pulse::Pulses;
use self::question::Questions;
use self::wear::Wearing;
use crate::board::{Board, Line};
use crate::config::{Runtime, Settings};
use crate::ipc::channel::Reply;
use crate::ipc::message::ToPrimary;
use crate::load::Load;
use crate::report;
use crate::role::{self, Process};
use crate::sys::{process, signal};

pub(crate) use self::account::{Account, Spent};
pub(crate) use self::bind::{
    Datagrams, Listener, Options, adopt, ask_for_activated, ask_for_activated_datagrams, ask_for_datagrams,
    ask_for_inherited, ask_for_inherited_datagrams, ask_to_bind,
};
#[cfg(feature = "actix")]
pub(crate) use self::bind::{activated, bind};
#[cfg(feature = "actix")]
pub(crate) use self::drain::LAST_CALL;
#[cfg(feature = "actix")]
pub(crate) use self::receive::LaneRemote;
pub(crate) use self::receive::{Connection, Lane, open_lane};

mod account;
mod answer;
mod bind;
mod drain;
pub(crate) mod inbox;
mod link;
mod pulse;
pub(crate) mod question;
mod receive;
pub(crate) mod say;
mod stderr;
mod unclustered;
mod wait;
mod wear;

/// After the primary's death: what has been begun may be finished, and no more.
const ORPHAN_GRACE: Duration = Duration::from_secs(1);

/// What this process is as a worker; set once, at its birth.
static HERE: OnceLock<Here> = OnceLock::new();

thread_local! {
    /// Where this thread counts what it serves; the worker as a whole does where nothing is said.
    static LINE: Cell<Option<Line<'static>>> = const { Cell::new(None) };
}

/// Who this worker is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    pub(crate) id: u64,
    pub(crate) slot: usize,
    pub(crate) generation: u64,
    /// Whose child it is.
    pub(crate) primary: u32,
}

/// Without a primary.
const ALONE: Birth = Birth { id: 1, slot: 0, generation: 1, primary: 0 };

struct Here {
    birth: Birth,
    settings: Settings,
    drain: Drain,
    wearing: Wearing,
    /// What it counts.
    board: Board,
    messages: Inbox,
    questions: Inbox,
    pulses: Pulses,
    to: To,
}

/// Who is on the other side.
enum To {
    Primary(Box<Link>),
    /// Nobody: what is sent goes to the callbacks in this very process.
    Unclustered(Callbacks),
}

/// What is said to a primary that there is not.
pub(crate) enum Said<'a> {
    Message(&'a [u8], Option<OwnedFd>),
    Question(&'a [u8]),
}

/// Takes it in its place; a question's answer, or why there is none.
type Callbacks = Box<dyn Fn(Said<'_>) -> Result<Vec<u8>, String> + Send + Sync>;

/// This worker, as it sees itself; what the primary has of it is a [`Worker`](crate::Worker). Node:
/// `cluster.worker` and, for messages, `process`.
#[derive(Clone, Copy, Debug)]
pub struct ThisWorker {
    _private: (),
}

/// This worker. In a program without a cluster, and where the body runs unclustered, one that is alone: id 1,
/// slot 0; without a cluster, what it sends goes nowhere. Node: `cluster.worker`.
///
/// # Panics
/// In the primary, which is none, and in `preload`, from which there will be many.
pub fn worker() -> ThisWorker {
    here();
    ThisWorker { _private: () }
}

fn here() -> &'static Here {
    HERE.get_or_init(|| {
        match role::get() {
            Process::Primary => panic!(
                "this works in workers only: in the primary, use cluster::workers() or cluster::get(id), and serve in main"
            ),
            Process::Nursery => panic!("this works in workers only: preload runs before they are born"),
            Process::Plain | Process::Worker => {}
        }
        Here::new(ALONE, Settings::default(), To::Unclustered(Box::new(|_| Err("there is no cluster".into()))))
    })
}

/// Resolves, in a worker, when it is to finish and everything that was handed to it has been accepted: for a server's
/// graceful shutdown, and for what should say goodbye before the process ends, a WebSocket or a queue. From connections
/// of [`net`](crate::net) something has been read by then, where it came within a quarter of a second. A
/// `cluster::actix::HttpServer` needs to be told nothing.
/// Unclustered, SIGTERM or SIGINT brings it about. Never resolves in a program without a cluster.
pub async fn shutdown_signal() {
    here().drain.empty().await;
}

/// Makes this process the worker it was born to be: the first thing that happens in it. `unblock` is called as soon as
/// there are handlers for the signals that are still blocked.
pub(crate) fn begin(
    birth: Birth,
    channel: OwnedFd,
    board: Option<OwnedFd>,
    settings: Settings,
    unblock: impl FnOnce() -> io::Result<()>,
) -> io::Result<ThisWorker> {
    let terminate = signal::wake_on(&[libc::SIGTERM])?;
    signal::ignore_terminal()?;
    unblock()?;
    process::signal_on_parent_death()?;
    if process::parent() != birth.primary {
        // It died before we could ask to be told.
        process::exit_now(0);
    }
    role::turn_into(Process::Worker);
    let link = Link::new(channel, terminate)?;
    link.tell(&ToPrimary::Online, None);
    let here = Here::new(birth, settings, To::Primary(Box::new(link)));
    let here = become_worker(match board.map(Board::of).transpose() {
        Ok(board) => Here { board: board.unwrap_or(here.board), ..here },
        Err(error) => {
            report::warn(format_args!(
                "mapping the page of memory in which this worker counts: {error}; the primary does not know what it does"
            ));
            here
        }
    })?;
    process::at_exit(say_the_rest)?;
    if let To::Primary(link) = &here.to {
        link.start(here)?;
    }
    Ok(ThisWorker { _private: () })
}

/// Makes this process its own and only worker. What it sends is given to `callbacks`. SIGTERM and SIGINT begin its
/// drain; a second one ends it.
pub(crate) fn begin_unclustered(settings: Settings, callbacks: Callbacks) -> io::Result<ThisWorker> {
    let stop = signal::wake_on(&[libc::SIGTERM, libc::SIGINT])?;
    role::turn_into(Process::Worker);
    let (first, within) = (settings.pre_drain, settings.drain_timeout);
    let here = become_worker(Here::new(ALONE, settings, To::Unclustered(callbacks)))?;
    std::thread::Builder::new().name("cluster-signals".into()).spawn(move || {
        let ended = wait::wait_for(&stop, None).and_then(|_| {
            if !first.is_zero() {
                here.drain.foretell();
                // A second signal cuts it short.
                wait::wait_for(&stop, Some(first))?;
            }
            here.begin_drain(within);
            wait::wait_for(&stop, Some(within))
        });
        match ended {
            Ok(second) => process::exit_now(if second { 128 + libc::SIGTERM } else { 0 }),
            Err(error) => report::error(format_args!("waiting for signals: {error}")),
        }
    })?;
    Ok(ThisWorker { _private: () })
}

/// Once in a process.
fn become_worker(here: Here) -> io::Result<&'static Here> {
    let again = |_| {
        io::Error::other("this process is a worker already: was a server made before the cluster started?")
    };
    HERE.set(here).map_err(again)?;
    HERE.get().ok_or_else(|| io::Error::other("this process forgot that it is a worker"))
}

/// Puts a message into this process's own inbox.
pub(crate) fn deliver_here(body: Vec<u8>, fd: Option<OwnedFd>) {
    here().messages.deliver(body, fd, None);
}

/// Has this process answer a question of its own.
pub(crate) fn question_here(body: Vec<u8>, reply: Reply) {
    here().questions.deliver(body, None, Some(reply));
}

/// What was sent is written before the process ends, unless it is killed or aborts: the primary is to know what this
/// worker said, and that it left voluntarily, before it learns of its end. At the exit and not where `main` returns, for
/// a program may end anywhere.
fn say_the_rest() {
    if let Some(Here { to: To::Primary(link), .. }) = HERE.get() {
        link.finish();
    }
}

fn proven() {
    here().tell(&ToPrimary::Proven);
}

/// What this thread serves is counted on this line from now on.
#[cfg(feature = "actix")]
fn count_on(line: Line<'static>) {
    LINE.set(Some(line));
}

/// This thread has answered a request.
#[cfg(feature = "actix")]
pub(crate) fn answered() {
    LINE.get().unwrap_or_else(|| here().board.line(None)).served();
    served();
}

/// One request more was served here, or what counts as one.
fn served() {
    let here = here();
    if let Some(why) = here.wearing.served() {
        here.tell(&ToPrimary::Worn { why });
    }
}

/// Counts the connections that are open here.
fn connection_opened() {
    here().drain.connection_opened();
}

fn connection_ended() {
    here().drain.connection_ended();
}

impl ThisWorker {
    /// Counts up from 1; a replacement has another. Node: `cluster.worker.id`.
    pub fn id(&self) -> u64 {
        here().birth.id
    }

    /// The place it fills, from 0 on; a replacement has the same.
    pub fn slot(&self) -> usize {
        here().birth.slot
    }

    /// This process's id. Node: `process.pid`.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Which start of the code it belongs to: 1, and one more with each reload.
    pub fn generation(&self) -> u64 {
        here().birth.generation
    }

    /// What was counted of connections and requests in this process, from its birth on. Node has no word for it.
    pub fn load(&self) -> Load {
        here().board.sum().into()
    }

    /// The messages that the primary sends to this worker, from the first one on. Node: `process.on('message')`.
    pub fn messages<M: DeserializeOwned>(&self) -> Messages<M> {
        Messages::of(&here().messages)
    }

    /// The questions that the primary [asks](crate::Worker::ask) this worker, from the first one on. Node has no word for it.
    pub fn questions<Q: DeserializeOwned>(&self) -> Questions<Q> {
        Questions::of(&here().questions)
    }

    /// Says that this worker is up, where it listens to nothing. One that neither listens nor says so within
    /// [`startup_timeout`](crate::Cluster::startup_timeout) is taken for stuck and killed. Once is enough; Node has no
    /// word for it.
    pub fn ready(&self) {
        let here = here();
        here.tell(&ToPrimary::Ready);
        here.is_up();
    }

    /// Leaves the cluster: takes no new connections, finishes those it has, and ends; nobody takes its place. Returns
    /// at once, and may be called again, without effect. Node: `cluster.worker.disconnect`.
    ///
    /// Servers, [`shutdown_signal`], [`messages`](ThisWorker::messages) and [`disconnected`](ThisWorker::disconnected) end
    /// when they may, and so does a worker that only accepts, with its last connection. In any other the rest is the
    /// caller's, who knows that it leaves: to return from `main`, or to exit, with the status it likes. A worker that has not
    /// ended by then is killed after [`drain_timeout`](crate::Cluster::drain_timeout).
    ///
    /// The primary knows that the end was voluntary before it learns of the end, also if this process exits at once.
    pub fn disconnect(&self) {
        let here = here();
        if !here.drain.serves() {
            // Nothing here will end: whoever has asked is not to be ended where it stands when the answer comes.
            here.drain.concern();
        }
        match &here.to {
            To::Primary(link) => link.tell(&ToPrimary::Leave { voluntary: true }, None),
            To::Unclustered(_) => here.begin_drain(here.settings.drain_timeout),
        }
    }

    /// Resolves when this worker is no longer [connected](ThisWorker::is_connected), however that came: it has been told to
    /// leave, by either side's `disconnect`, by a SIGTERM or because the cluster stops, or its primary is gone. After a
    /// `disconnect` here, it is the primary's answer. What it has is still to be finished: [`shutdown_signal`] resolves when
    /// it has got all it will ever get. Node: `cluster.worker.on('disconnect')`.
    ///
    /// From the call on, not from its first poll, this process is left to end by itself.
    pub fn disconnected(&self) -> impl Future<Output = ()> + Send + use<> {
        let here = here();
        here.drain.concern();
        here.drain.begun()
    }

    /// Whether this worker belongs to the cluster still: nobody has told it to leave, and its primary lives. One that
    /// leaves may go on to [`send`](ThisWorker::send) to its primary. Node: `cluster.worker.isConnected`.
    pub fn is_connected(&self) -> bool {
        here().drain.deadline().is_none()
    }

    /// Whether this worker's end is near: the cluster was told to stop and is in its
    /// [`pre_drain`](crate::Cluster::pre_drain), in which it serves as ever, or this worker has been told to finish. For an
    /// endpoint by which a load balancer sees whom to send to: it answers 503 from here on. Node has no word for it.
    pub fn is_stopping(&self) -> bool {
        let drain = &here().drain;
        drain.is_foretold() || drain.deadline().is_some()
    }

    /// Builds the runtime that the cluster was given, and runs the body of `main` in it. Called once, right after
    /// [`start`](crate::Cluster::start). A runtime that can't be built ends the worker with status 1.
    ///
    /// # Panics
    /// If the runtime is [`Runtime::None`]: then use [`run`](ThisWorker::run).
    pub fn block_on<F: Future>(self, body: F) -> F::Output {
        let settings = &here().settings;
        let body = async {
            here().body_runs();
            body.await
        };
        let mut builder = match settings.runtime() {
            Runtime::CurrentThread => tokio::runtime::Builder::new_current_thread(),
            Runtime::MultiThread => {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder.worker_threads(settings.threads);
                builder
            }
            #[cfg(feature = "actix")]
            Runtime::Actix => return self.run(|| actix_rt::System::new().block_on(body)),
            Runtime::None => panic!("this cluster has no runtime for an async body: use ThisWorker::run"),
        };
        match builder.enable_all().build() {
            Ok(runtime) => self.run(|| runtime.block_on(body)),
            Err(error) => {
                report::error(format_args!("building the runtime of worker {}: {error}", self.id()));
                std::process::exit(1)
            }
        }
    }

    /// Runs the body of a `main` that is not async. Called once, right after [`start`](crate::Cluster::start).
    pub fn run<T>(self, body: impl FnOnce() -> T) -> T {
        body()
    }
}

impl Here {
    fn new(birth: Birth, settings: Settings, to: To) -> Here {
        let room = || {
            if let Some(Here { to: To::Primary(link), .. }) = HERE.get() {
                link.wake();
            }
        };
        let (messages, questions) = (Inbox::new("messages()", room), Inbox::new("questions()", room));
        let wearing = Wearing::new(birth.id, &settings);
        let pulses = Pulses::new(settings.heartbeat());
        let board = Board::unread();
        Here { birth, settings, drain: Drain::new(), wearing, board, messages, questions, pulses, to }
    }

    fn tell(&self, message: &ToPrimary) {
        if let To::Primary(link) = &self.to {
            link.tell(message, None);
        }
    }

    fn begin_drain(&self, within: Duration) {
        // Whoever reads messages will see their end.
        if self.messages.has_readers() || self.questions.has_readers() {
            self.drain.concern();
        }
        self.drain.begin(within);
        self.messages.end();
        self.questions.end();
        if self.drain.is_moot() {
            // Nothing here would ever notice: no server, and nobody who waits for the end.
            std::process::exit(0);
        }
        if self.drain.is_to_be_watched() {
            let watch = std::thread::Builder::new().name("cluster-drain".into()).spawn(|| {
                let here = here();
                here.drain.wait_until_moot();
                std::process::exit(0);
            });
            if let Err(error) = watch {
                report::error(format_args!(
                    "this worker may not end before its time to drain is over: {error}"
                ));
            }
        }
    }
}

impl link::Listener for Here {
    fn message(&self, body: Vec<u8>, fd: Option<OwnedFd>) {
        self.messages.deliver(body, fd, None);
    }

    fn question(&self, body: Vec<u8>, reply: Reply) {
        self.questions.deliver(body, None, Some(reply));
    }

    fn is_full(&self) -> bool {
        self.messages.is_full() || self.questions.is_full()
    }

    fn drain(&self, within: Duration) {
        self.begin_drain(within);
    }

    fn foretold(&self) {
        self.drain.foretell();
    }

    fn weigh(&self) -> Option<Instant> {
        let (worn, again) = self.wearing.weigh(Instant::now());
        if let Some(why) = worn {
            self.tell(&ToPrimary::Worn { why });
        }
        again
    }

    fn ring(&self, now: Instant) -> Option<Instant> {
        self.pulses.ring(now)
    }

    fn terminated(&self) -> Option<Instant> {
        if process::parent() != self.birth.primary {
            return Some(self.orphaned());
        }
        // The primary ends the lanes, gives what is unread to others, and answers with Drain.
        self.tell(&ToPrimary::Leave { voluntary: false });
        None
    }

    fn orphaned(&self) -> Instant {
        self.begin_drain(ORPHAN_GRACE);
        Instant::now() + ORPHAN_GRACE
    }
}

/// A connection from which nothing was read yet.
#[derive(Debug)]
pub(crate) struct Fresh {
    _private: (),
}

impl Fresh {
    pub(crate) fn new() -> Fresh {
        here().drain.came();
        Fresh { _private: () }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        here().drain.first_read();
    }
}

/// In a drain: waits for a moment until something was read from every connection.
pub(crate) async fn last_call() {
    here().drain.last_call().await;
}

/// From now on this worker serves on a socket of `cluster::net`.
pub(crate) fn serve() {
    here().drain.serve();
}

/// From now on there is something in this worker that will end by itself.
pub(crate) fn concern() {
    here().drain.concern();
}

/// Whether this worker drains.
#[cfg(feature = "actix")]
pub(crate) fn is_draining() -> bool {
    here().drain.deadline().is_some()
}

/// When this worker begins to drain.
#[cfg(feature = "actix")]
pub(crate) async fn drain_has_begun() {
    here().drain.begun().await;
}

/// When the time that this worker has to drain is over.
#[cfg(feature = "actix")]
pub(crate) async fn drain_is_over() {
    here().drain.over().await;
}

/// The settings this worker was born with.
pub(crate) fn settings() -> &'static Settings {
    &here().settings
}
