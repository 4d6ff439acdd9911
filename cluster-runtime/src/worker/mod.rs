//! A worker: what a process is after its birth.
//!
//! A connection's way through it: `receive` (off the lane) → the user's server → `account` (closed, given back).
//! Its end: `drain`. Messages: `link` (the channel) → `inbox`.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::drain::Drain;
use self::inbox::{Inbox, Messages};
use self::link::Link;
use crate::config::{Runtime, Settings};
use crate::error::SendError;
use crate::ipc::channel::Encoded;
use crate::ipc::message::{PROTOCOL, ToPrimary};
use crate::report;
use crate::role::{self, Process};
use crate::sys::signal::Signals;
use crate::sys::{process, signal};

#[cfg(feature = "actix")]
pub(crate) use self::account::Account;
#[cfg(feature = "actix")]
pub(crate) use self::bind::{Listener, adopt, bind};
#[cfg(feature = "actix")]
pub(crate) use self::receive::{Connection, Lane, LaneRemote, open_lane};

// Serving is for frameworks, and each is a feature: without any, nothing here is asked for a lane.
#[cfg_attr(not(feature = "actix"), allow(dead_code))]
mod account;
#[cfg_attr(not(feature = "actix"), allow(dead_code))]
mod bind;
#[cfg_attr(not(feature = "actix"), allow(dead_code))]
mod drain;
pub(crate) mod inbox;
mod link;
#[cfg_attr(not(feature = "actix"), allow(dead_code))]
mod receive;
#[cfg_attr(not(feature = "actix"), allow(dead_code))]
mod unclustered;

/// After the primary's death: what has been begun may be finished, and no more.
const ORPHAN_GRACE: Duration = Duration::from_secs(1);

/// What this process is as a worker; set once, at its birth.
static HERE: OnceLock<Here> = OnceLock::new();

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
    inbox: Inbox,
    to: To,
}

/// Who is on the other side.
enum To {
    Primary(Link),
    /// Nobody: what is sent goes to the callbacks in this very process.
    Unclustered(Callbacks),
}

/// Takes what is sent to a primary that there is not.
type Callbacks = Box<dyn Fn(&[u8]) + Send + Sync>;

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
        Here::new(ALONE, Settings::default(), To::Unclustered(Box::new(|_| {})))
    })
}

/// Resolves, in a worker, when it is to finish and everything that was handed to it has been accepted: for what should
/// say goodbye before the process ends, a WebSocket or a queue. A `cluster::actix::HttpServer` needs to be told nothing.
/// Unclustered, SIGTERM or SIGINT brings it about. Never resolves in a program without a cluster.
pub async fn shutdown_signal() {
    here().drain.empty().await;
}

/// Makes this process the worker it was born to be: the first thing that happens in it. `signals` are still blocked,
/// until there are handlers for them.
pub(crate) fn begin(
    birth: Birth,
    channel: OwnedFd,
    settings: Settings,
    signals: Option<Signals>,
) -> io::Result<ThisWorker> {
    let terminate = signal::wake_on(&[libc::SIGTERM])?;
    signal::ignore_terminal()?;
    if let Some(signals) = signals {
        signals.restore()?;
    }
    process::signal_on_parent_death()?;
    if process::parent() != birth.primary {
        // It died before we could ask to be told.
        process::exit_now(0);
    }
    process::forget_service_manager();
    role::turn_into(Process::Worker);
    let link = Link::new(channel, terminate)?;
    link.tell(&ToPrimary::Online { protocol: PROTOCOL }, None);
    let here = become_worker(Here::new(birth, settings, To::Primary(link)))?;
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
    let within = settings.drain_timeout;
    let here = become_worker(Here::new(ALONE, settings, To::Unclustered(callbacks)))?;
    std::thread::Builder::new().name("cluster-signals".into()).spawn(move || {
        let ended = link::wait_for(&stop, None).and_then(|_| {
            here.begin_drain(within);
            link::wait_for(&stop, Some(within))
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
pub(crate) fn deliver_here(body: Vec<u8>) {
    here().inbox.deliver(body);
}

fn proven() {
    here().tell(&ToPrimary::Proven);
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

    /// Sends the primary a message, which arrives there at [`on_message`](crate::Primary::on_message), in order. Never
    /// waits: what the socket does not take is written later, and before the process ends if `main` returns. Node:
    /// `process.send`.
    ///
    /// Unclustered, the callback runs here and now, on this thread.
    ///
    /// # Errors
    /// [`SendError::Closed`] when the primary is gone, [`SendError::Full`] when it does not read,
    /// [`SendError::TooLarge`] and [`SendError::Encode`] when this message can't be sent at all. Nothing was sent then.
    pub fn send<M: Serialize>(&self, message: M) -> Result<(), SendError> {
        match &here().to {
            To::Primary(link) => link.send_user(&message),
            To::Unclustered(callbacks) => {
                callbacks(&Encoded::new(&message)?.into_bytes());
                Ok(())
            }
        }
    }

    /// The messages that the primary sends to this worker, from the first one on. Node: `process.on('message')`.
    pub fn messages<M: DeserializeOwned>(&self) -> Messages<M> {
        here().inbox.subscribe()
    }

    /// Says that this worker is up, where it listens to nothing. One that neither listens nor says so within
    /// [`startup_timeout`](crate::Cluster::startup_timeout) is taken for stuck and killed. Once is enough; Node has no
    /// word for it.
    pub fn ready(&self) {
        here().tell(&ToPrimary::Ready);
    }

    /// Leaves the cluster: takes no new connections, finishes those it has, and ends; nobody takes its place. Returns
    /// at once; servers, [`shutdown_signal`] and [`messages`](ThisWorker::messages) end when they may. A worker in which
    /// nothing of these is in use exits with status 0. Node: `cluster.worker.disconnect`.
    pub fn disconnect(&self) {
        let here = here();
        match &here.to {
            To::Primary(link) => link.tell(&ToPrimary::Leave { voluntary: true }, None),
            To::Unclustered(_) => here.begin_drain(here.settings.drain_timeout),
        }
    }

    /// Builds the runtime that the cluster was given, and runs the body of `main` in it; then waits, for 5 s at most,
    /// until the last messages are written. Called once, right after [`start`](crate::Cluster::start). A runtime that
    /// can't be built ends the worker with status 1.
    ///
    /// # Panics
    /// If the runtime is [`Runtime::None`]: then use [`run`](ThisWorker::run).
    pub fn block_on<F: Future>(self, body: F) -> F::Output {
        let settings = &here().settings;
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

    /// Runs the body of a `main` that is not async, and waits for the last messages as
    /// [`block_on`](ThisWorker::block_on) does. Called once, right after [`start`](crate::Cluster::start).
    pub fn run<T>(self, body: impl FnOnce() -> T) -> T {
        let output = body();
        if let To::Primary(link) = &here().to {
            link.finish();
        }
        output
    }
}

impl Here {
    fn new(birth: Birth, settings: Settings, to: To) -> Here {
        let room = || {
            if let Some(Here { to: To::Primary(link), .. }) = HERE.get() {
                link.wake();
            }
        };
        Here { birth, settings, drain: Drain::new(), inbox: Inbox::new(room), to }
    }

    fn tell(&self, message: &ToPrimary) {
        if let To::Primary(link) = &self.to {
            link.tell(message, None);
        }
    }

    fn begin_drain(&self, within: Duration) {
        let moot = self.drain.is_moot() && !self.inbox.has_readers();
        self.drain.begin(within);
        self.inbox.end();
        if moot {
            // Nothing here would ever notice: no server, and nobody who waits for the end.
            if let To::Primary(link) = &self.to {
                link.finish();
            }
            std::process::exit(0);
        }
    }
}

impl link::Listener for Here {
    fn message(&self, body: Vec<u8>) {
        self.inbox.deliver(body);
    }

    fn is_full(&self) -> bool {
        self.inbox.is_full()
    }

    fn drain(&self, within: Duration) {
        self.begin_drain(within);
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
#[cfg(feature = "actix")]
pub(crate) fn settings() -> &'static Settings {
    &here().settings
}
