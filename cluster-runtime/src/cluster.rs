//! The builder, and the moment at which one program becomes many processes.

use std::ffi::OsString;
use std::fmt::{Debug, Display};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::alone;
use crate::config::{BadSetting, Output, Overload, Policy, Restart, Runtime, Settings, Spawn, Workers};
use crate::end::End;
use crate::event::{Address, Exit};
use crate::fit::{check_settings, could_take_over, fit};
use crate::ipc::birth::{self, Birth};
use crate::ipc::check;
use crate::primary::adopt::{self, Handed};
use crate::primary::callback::Primary;
use crate::primary::desk::{self, Worker};
use crate::primary::lines::Line;
use crate::primary::output::Ends;
use crate::primary::step::Ids;
use crate::primary::{Departure, Loop, Newborn, Offspring, Preload, Preloads};
use crate::reload::Reload;
use crate::report;
use crate::role::{self, Process};
use crate::settings;
use crate::sys::credentials::Credentials;
use crate::sys::{activation, inherited, process, signal};
use crate::upgrade::Upgrade;
use crate::worker::{self, ThisWorker};

/// A cluster, before it starts: what `#[cluster::main]` writes, for those who write it by hand.
///
/// ```no_run
/// use cluster::{Cluster, Role, Workers};
///
/// fn main() {
///     match Cluster::new().workers(Workers::Count(4)).start() {
///         Role::Primary(end) => end.exit(),
///         Role::Worker(worker) => worker.block_on(async {
///             println!("worker {} runs", worker.id());
///         }),
///     }
/// }
/// ```
#[must_use = "a cluster does nothing until it is started"]
#[derive(Default)]
pub struct Cluster {
    settings: Settings,
    callbacks: Primary,
    setup: Option<Setup>,
    preloads: Option<Preloads>,
}

/// The user's code for the primary.
pub(crate) type Setup = Box<dyn FnOnce(&mut Primary) + Send>;

/// Who one is when [`Cluster::start`] returns.
#[derive(Debug)]
pub enum Role {
    /// The process that was started; the cluster has ended.
    Primary(End),
    /// A worker, right after its birth. Or, unclustered, the process that was started.
    Worker(ThisWorker),
}

impl Cluster {
    /// With the defaults: as many workers as there are processors.
    pub fn new() -> Cluster {
        Cluster::default()
    }

    /// How many workers. `CLUSTER_WORKERS` overrides it.
    pub fn workers(mut self, workers: Workers) -> Cluster {
        self.settings.workers = workers;
        self
    }

    /// Serving threads in each worker; 1 where nothing is said. `CLUSTER_THREADS` overrides it.
    pub fn threads(mut self, threads: usize) -> Cluster {
        self.settings.threads = threads;
        self
    }

    /// What runs the body. Where nothing is said, actix's with the feature `actix`, else tokio's of
    /// [`threads`](Cluster::threads) threads. `CLUSTER_RUNTIME` overrides it.
    pub fn runtime(mut self, runtime: Runtime) -> Cluster {
        self.settings.runtime = Some(runtime);
        self
    }

    /// By fork, where nothing is said, or by exec. `CLUSTER_SPAWN` overrides it.
    ///
    /// By exec a worker runs the program from its beginning, with its arguments; what stands before
    /// [`start`](Cluster::start) runs in each worker, too, and is to start no process, which would inherit the channel.
    /// [`preload`](Cluster::preload) then runs in each worker, before its body, and nothing of it is shared. Where the primary
    /// has other threads, which makes a fork unsafe, it says so once and starts its workers in this way.
    pub fn spawn(mut self, spawn: Spawn) -> Cluster {
        self.settings.spawn = spawn;
        self
    }

    /// Sets a variable of each worker's environment. See [`Fork::env`](crate::Fork::env).
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Cluster {
        self.settings.fork = self.settings.fork.env(name, value);
        self
    }

    /// Where each worker works; in the primary's own directory where nothing is said. See [`Fork::cwd`](crate::Fork::cwd). `CLUSTER_CWD`
    /// overrides it.
    pub fn cwd(mut self, directory: impl Into<PathBuf>) -> Cluster {
        self.settings.fork = self.settings.fork.cwd(directory);
        self
    }

    /// The arguments of each worker; the primary's own where nothing is said. Its workers are started by exec. See
    /// [`Fork::args`](crate::Fork::args).
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Cluster {
        self.settings.fork = self.settings.fork.args(args);
        self
    }

    /// Where what workers print goes. Where nothing is said, where the primary's goes. `CLUSTER_OUTPUT` overrides it.
    pub fn output(mut self, output: Output) -> Cluster {
        self.settings.output = output;
        self
    }

    /// Who the workers are, by name or number: they become this user, with its groups, at their birth, before any code of
    /// theirs. The primary stays who it is, and so does the nursery in which [`preload`](Cluster::preload) runs. What the
    /// primary may not do, and who is not known, ends the cluster with an error. `CLUSTER_USER` overrides it. Node: `uid`.
    pub fn user(mut self, user: impl Into<String>) -> Cluster {
        self.settings.user = Some(user.into());
        self
    }

    /// The workers' group, by name or number, in place of that of their [`user`](Cluster::user); with no user named, their
    /// only group. `CLUSTER_GROUP` overrides it. Node: `gid`.
    pub fn group(mut self, group: impl Into<String>) -> Cluster {
        self.settings.group = Some(group.into());
        self
    }

    /// Whose place is filled again. `CLUSTER_RESTART` overrides it.
    pub fn restart(mut self, restart: Restart) -> Cluster {
        self.settings.restart = restart;
        self
    }

    /// How many workers may die within [`restart_window`](Cluster::restart_window) before they have served; with one
    /// more the cluster gives up. Five for each worker where nothing is said. `CLUSTER_MAX_RESTARTS` overrides it.
    ///
    /// A worker has served when its first connection is done with, or when it has been ready for five seconds. One
    /// that is killed by SIGKILL while it serves is not counted.
    pub fn max_restarts(mut self, deaths: u32) -> Cluster {
        self.settings.max_restarts = Some(deaths);
        self
    }

    /// See [`max_restarts`](Cluster::max_restarts); 60 s where nothing is said. `CLUSTER_RESTART_WINDOW` overrides it.
    pub fn restart_window(mut self, window: Duration) -> Cluster {
        self.settings.restart_window = window;
        self
    }

    /// How long a worker, or `preload`, may take until it is ready; then it is killed. 60 s where nothing is said.
    /// `CLUSTER_STARTUP_TIMEOUT` overrides it.
    pub fn startup_timeout(mut self, time: Duration) -> Cluster {
        self.settings.startup_timeout = time;
        self
    }

    /// How long a worker that is to leave may take to finish what it has; then it is killed. 30 s where nothing is
    /// said. `CLUSTER_DRAIN_TIMEOUT` overrides it.
    pub fn drain_timeout(mut self, time: Duration) -> Cluster {
        self.settings.drain_timeout = time;
        self
    }

    /// How long a serving thread of a worker may go without a sign of life; 60 s where nothing is said, `Duration::MAX` for ever.
    /// After half of it nothing more is handed to that worker, and what it has not read is given to others; after all of it
    /// what its threads do is logged, it is told to leave by SIGTERM, and if it has not ended within
    /// [`drain_timeout`](Cluster::drain_timeout), or 5 s where that is more, it is killed. Only then does a replacement come. The
    /// reason of its exit is [`Stalled`](crate::Reason::Stalled).
    ///
    /// Of a runtime with several threads all have to be blocked. A worker that listens to nothing is judged by the runtime of
    /// [`block_on`](crate::ThisWorker::block_on) once it is ready, and not at all where it has none: work that takes longer belongs
    /// into a thread of its own. One that is not ready yet has [`startup_timeout`](Cluster::startup_timeout) and one that is to leave
    /// `drain_timeout`, and no heartbeat. Time in which the primary itself stood still does not count.
    ///
    /// `CLUSTER_HEARTBEAT_TIMEOUT` overrides it; there and in the attribute, `"off"` is for ever.
    pub fn heartbeat_timeout(mut self, time: Duration) -> Cluster {
        self.settings.heartbeat_timeout = time;
        self
    }

    /// How long the cluster goes on as before when it is told to stop, by a signal or by [`disconnect`](crate::disconnect), so that
    /// a load balancer may notice first and send nobody any more: see
    /// [`ThisWorker::is_stopping`](crate::ThisWorker::is_stopping). New connections are served, and workers that die are replaced;
    /// a reload that runs ends as one that failed, and none begins. A second signal cuts it short: the drain begins, and the next
    /// one ends all at once, as SIGQUIT does at any time. Where no worker was ever ready, and where the cluster gives up, there
    /// is no such time. Not at all where nothing is said. `CLUSTER_PRE_DRAIN` overrides it.
    pub fn pre_drain(mut self, time: Duration) -> Cluster {
        self.settings.pre_drain = time;
        self
    }

    /// After about so many requests a worker is replaced by a new one: a tenth less or more, so that those who began together do
    /// not end together. The new one is ready before the old one drains, and if it fails the old one serves on. One after the
    /// other: [`max_surge`](Cluster::max_surge) at once over the whole cluster, each slot once a second at most, none during a reload.
    /// A request is what an HTTP server of the cluster answers; of a server on [`net`](crate::net), a connection counts as one when it
    /// is done. No limit where nothing is said, and unclustered. `CLUSTER_MAX_REQUESTS` overrides it.
    pub fn max_requests(mut self, requests: u64) -> Cluster {
        self.settings.max_requests = Some(requests);
        self
    }

    /// A worker that has more memory for itself alone than this, in bytes, is replaced by a new one, as with
    /// [`max_requests`](Cluster::max_requests). What it shares with others, such as what [`preload`](Cluster::preload) built, is
    /// not counted. It is looked at every two seconds. No limit where nothing is said, and unclustered. `CLUSTER_MAX_MEMORY` overrides it; there and in the attribute it is a text such as `"512MB"` or `"1GiB"`.
    pub fn max_memory(mut self, bytes: u64) -> Cluster {
        self.settings.max_memory = Some(bytes);
        self
    }

    /// A worker that is older than about this, a tenth less or more, is replaced by a new one, as with
    /// [`max_requests`](Cluster::max_requests). For ever where nothing is said, and unclustered. `CLUSTER_MAX_AGE` overrides it.
    pub fn max_age(mut self, age: Duration) -> Cluster {
        self.settings.max_age = Some(age);
        self
    }

    /// How many new workers come at once, beside the old ones, in a reload or for workers that are worn
    /// ([`max_requests`](Cluster::max_requests)): 1 where nothing is said. More is faster, and needs more memory meanwhile. `CLUSTER_MAX_SURGE` overrides it.
    pub fn max_surge(mut self, workers: usize) -> Cluster {
        self.settings.max_surge = workers;
        self
    }

    /// How many connections a server in a worker may have open, over all its threads; it may ask for less itself. What
    /// is past that goes to other workers, and when all are full it is a matter of [`overload`](Cluster::overload). Where nothing is said, the
    /// server's own limit: 25 600 with actix. `CLUSTER_MAX_CONNECTIONS` overrides it.
    pub fn max_connections(mut self, connections: usize) -> Cluster {
        self.settings.max_connections = Some(connections);
        self
    }

    /// Which worker gets the next connection: [`Policy::RoundRobin`] where nothing is said. The primary picks, but for
    /// [`Policy::Shared`] and [`Policy::ReusePort`]. `CLUSTER_POLICY` overrides it.
    ///
    /// Node: `cluster.schedulingPolicy`, and `NODE_CLUSTER_SCHED_POLICY`.
    pub fn policy(mut self, policy: Policy) -> Cluster {
        self.settings.policy = policy;
        self
    }

    /// What becomes of clients that connect while each worker that is up has
    /// [`max_connections`](Cluster::max_connections) open: where nothing is said they wait. While no worker is up, they wait
    /// in any case, and so they do unclustered. `CLUSTER_OVERLOAD` overrides it.
    pub fn overload(mut self, overload: Overload) -> Cluster {
        self.settings.overload = overload;
        self
    }

    /// Binds these before the first worker is there, and nothing else ever after: `"127.0.0.1:8000"`, `"[::]:80"`,
    /// `"unix:/run/app.sock"`, `"udp:0.0.0.0:53"`. A worker gets what it asks for if it is among these, and "permission
    /// denied" if it is not; sockets that a worker has already (`from_std`), or that the program was started with (`inherited`), are
    /// its own matter. They stay open until the end, whether or not any worker has a use for them. One that can't be
    /// bound ends the program at once, with status 1. Where nothing is said, the primary binds what workers ask for.
    pub fn listen<A: Into<String>>(mut self, addresses: impl IntoIterator<Item = A>) -> Cluster {
        self.settings.listen.extend(addresses.into_iter().map(Into::into));
        self
    }

    /// What is to be built once and shared by all workers, copy-on-write. Runs in a process of its own, the nursery,
    /// from which the workers are forked; it must leave no thread running, and be done within
    /// [`startup_timeout`](Cluster::startup_timeout). If it fails the cluster ends. A nursery that dies later is replaced,
    /// and preloads again for the workers to come. What it prints goes where the primary's goes. A generator of random numbers
    /// that it has seeded is in each worker the same, and yields the same: leave that to the worker.
    pub fn preload<R: Preloaded + 'static>(mut self, preload: fn() -> R) -> Cluster {
        self.preloads = Some(Box::new(move || -> Preload { Box::new(move || preload().result()) }));
        self
    }

    /// Code for the primary, before its first fork. Node: the code in `if (cluster.isPrimary)`.
    pub fn primary(mut self, setup: impl FnOnce(&mut Primary) + Send + 'static) -> Cluster {
        self.setup = Some(Box::new(setup));
        self
    }

    /// See [`Primary::on_fork`].
    pub fn on_fork(mut self, callback: impl FnMut(Worker) + Send + 'static) -> Cluster {
        self.callbacks.on_fork(callback);
        self
    }

    /// See [`Primary::on_online`].
    pub fn on_online(mut self, callback: impl FnMut(Worker) + Send + 'static) -> Cluster {
        self.callbacks.on_online(callback);
        self
    }

    /// See [`Primary::on_listening`].
    pub fn on_listening(mut self, callback: impl FnMut(Worker, Address) + Send + 'static) -> Cluster {
        self.callbacks.on_listening(callback);
        self
    }

    /// See [`Primary::on_message`].
    pub fn on_message<M: DeserializeOwned>(
        mut self,
        callback: impl FnMut(Worker, M) + Send + 'static,
    ) -> Cluster {
        self.callbacks.on_message(callback);
        self
    }

    /// See [`Primary::on_message_with`].
    pub fn on_message_with<M: DeserializeOwned>(
        mut self,
        callback: impl FnMut(Worker, M, Option<OwnedFd>) + Send + 'static,
    ) -> Cluster {
        self.callbacks.on_message_with(callback);
        self
    }

    /// See [`Primary::on_ask`].
    pub fn on_ask<Q: DeserializeOwned, A: Serialize>(
        mut self,
        callback: impl FnMut(Worker, Q) -> A + Send + 'static,
    ) -> Cluster {
        self.callbacks.on_ask(callback);
        self
    }

    /// See [`Primary::on_output`].
    pub fn on_output(mut self, callback: impl FnMut(Worker, Line) + Send + 'static) -> Cluster {
        self.callbacks.on_output(callback);
        self
    }

    /// See [`Primary::on_disconnect`].
    pub fn on_disconnect(mut self, callback: impl FnMut(Worker) + Send + 'static) -> Cluster {
        self.callbacks.on_disconnect(callback);
        self
    }

    /// See [`Primary::on_exit`].
    pub fn on_exit(mut self, callback: impl FnMut(Worker, Exit) + Send + 'static) -> Cluster {
        self.callbacks.on_exit(callback);
        self
    }

    /// See [`Primary::on_reload`].
    pub fn on_reload(mut self, callback: impl FnMut(Reload) + Send + 'static) -> Cluster {
        self.callbacks.on_reload(callback);
        self
    }

    /// See [`Primary::on_upgrade`].
    pub fn on_upgrade(mut self, callback: impl FnMut(Upgrade) + Send + 'static) -> Cluster {
        self.callbacks.on_upgrade(callback);
        self
    }

    /// Starts it. To the cluster what fork(2) is to a process: returns in each worker when it is born, and in the
    /// process that called it when all is over. To be called on the main thread, before any other exists: else workers are
    /// started by exec.
    ///
    /// Settings that can't be, and an override in the environment that can't be read, come back at once as a
    /// [`Role::Primary`] whose [`End::error`] says so.
    pub fn start(self) -> Role {
        let Cluster { settings, mut callbacks, setup, preloads } = self;
        if !matches!(role::get(), Process::Plain | Process::Primary) {
            let error = "a cluster can't be started in a worker of another: start a program for it";
            report::error(format_args!("{error}"));
            return Role::Primary(End { code: 1, error: Some(error.into()) });
        }
        let (handed, born, asked) = match find_out() {
            Ok(found) => found,
            Err(error) => return Role::Primary(broken(&error)),
        };
        // Before anything of ours is open.
        if born.is_none()
            && handed.is_none()
            && let Err(error) = inherited::note().and_then(|()| activation::take())
        {
            return Role::Primary(broken(&format_args!("looking up this program's descriptors: {error}")));
        }
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let settings = settings.with_environment(variable).inspect(settings::put_in_force);
        if let Some(born) = born {
            // As after a fork: what the callbacks hold is the primary's.
            std::mem::forget((callbacks, setup));
            return be_fresh(born, settings, preloads);
        }
        if let Some(asked) = asked {
            let found = could_take_over(settings, &asked);
            asked.answer(found)
        }
        if let Some(handed) = handed {
            return match take_over(settings, callbacks, setup, preloads, handed) {
                Ok(role) => role,
                Err(error) => Role::Primary(broken(&error)),
            };
        }
        let settings = match settings {
            Ok(settings) => settings,
            Err(error) => return Role::Primary(broken(&error)),
        };
        if settings.workers == Workers::Count(0) {
            return alone::unclustered(settings, callbacks, setup, preloads);
        }
        role::turn_into(Process::Primary);
        let ids = Ids::default();
        desk::open(ids.clone());
        if let Some(setup) = setup {
            setup(&mut callbacks);
        }
        match clustered(settings, ids, callbacks, preloads) {
            Ok(role) => role,
            Err(error) => Role::Primary(broken(&error)),
        }
    }
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A state, a worker's birth or a question, with what belongs to it: one of them at most.
type Found = (Option<Handed>, Option<birth::Taken>, Option<check::Asked>);

/// What this process is, as it was left for it. The state first: who has one is a primary, and nobody's child. Among what it was
/// left is what its workers have sent, where a birth or a question could be forged, or the end of whoever asked.
fn find_out() -> io::Result<Found> {
    match adopt::find()? {
        Some(handed) => Ok((Some(handed), None, None)),
        None => Ok((None, birth::take()?, check::take()?)),
    }
}

pub(crate) fn broken(error: &dyn Display) -> End {
    report::error(format_args!("{error}"));
    role::turn_into(Process::Plain);
    End { code: 1, error: Some(error.to_string()) }
}

fn clustered(
    settings: Settings,
    ids: Ids,
    callbacks: Primary,
    preloads: Option<Preloads>,
) -> io::Result<Role> {
    let credentials = check_settings(&settings)?;
    signal::expect_children()?;
    process::raise_open_files()?;
    let primary = Loop::new(settings.clone(), ids, callbacks, preloads, credentials.clone())?;
    run(primary, settings, credentials)
}

/// In a new image of the primary.
fn take_over(
    settings: Result<Settings, BadSetting>,
    callbacks: Primary,
    setup: Option<Setup>,
    preloads: Option<Preloads>,
    handed: Handed,
) -> io::Result<Role> {
    role::turn_into(Process::Primary);
    let fit = fit(settings)
        .and_then(|settings| Ok((check_settings(&settings).map_err(|error| error.to_string())?, settings)));
    let (credentials, settings) = match fit {
        Ok(fit) => fit,
        Err(why) => return Err(handed.go_back(&why)),
    };
    let mut primary = Loop::take_over(settings.clone(), callbacks, preloads, credentials.clone(), handed)?;
    primary.set_up(setup);
    run(primary, settings, credentials)
}

fn run(mut primary: Loop, settings: Settings, credentials: Option<Credentials>) -> io::Result<Role> {
    // Whoever is forked has it from here.
    process::cpus();
    let ending = match primary.run() {
        Ok(ending) => ending,
        Err(Departure::Broken(error)) => {
            primary.close()?;
            return Err(error);
        }
        // From here on this is another process.
        Err(Departure::Born(Offspring::Worker(newborn))) => {
            let (signals, _) = primary.leave();
            return Ok(be_forked(newborn, settings, credentials, || signals.restore()));
        }
        Err(Departure::Born(Offspring::Nursery(cradle))) => {
            role::turn_into(Process::Nursery);
            let (signals, preloads) = primary.leave();
            let preload = preloads.ok_or_else(|| io::Error::other("a nursery without a preload"))?();
            return Ok(be_forked(cradle.serve(preload, signals), settings, credentials, signal::release));
        }
    };
    primary.close()?;
    role::turn_into(Process::Plain);
    let end = End::of(ending);
    match &end.error {
        Some(error) => report::error(format_args!("{error}")),
        None => report::info(format_args!("stopped")),
    }
    Ok(Role::Primary(end))
}

/// In a child of the primary, or of the nursery, which is to differ from it.
fn be_forked(
    newborn: Newborn,
    settings: Settings,
    credentials: Option<Credentials>,
    unblock: impl FnOnce() -> io::Result<()>,
) -> Role {
    let Newborn { id, slot, generation, channel, board, primary, fork, output } = newborn;
    // Its output first, so that it is there that it says what else went wrong; its user before it asks to be told of the
    // primary's death, which the kernel forgets when the user changes.
    let begun = output
        .map_or(Ok(()), Ends::take_on)
        .and_then(|()| {
            process::forget_service_manager();
            fork.take_on()
        })
        .and_then(|()| {
            let become_user = credentials.map_or(Ok(()), |credentials| credentials.take_on());
            become_user
                .map_err(|error| io::Error::new(error.kind(), format!("{}{error}", settings.told_user())))
        })
        .and_then(|()| {
            let birth = worker::Birth { id, slot, generation, primary };
            worker::begin(birth, channel, board, settings, unblock)
        });
    begun.map_or_else(|error| stillborn(id, &error), Role::Worker)
}

/// In the fresh image of a worker by exec, which was given all that at its exec. The settings are its own: of its own
/// environment and of what its `main` said.
fn be_fresh(
    (birth, channel, board): birth::Taken,
    settings: Result<Settings, BadSetting>,
    preloads: Option<Preloads>,
) -> Role {
    let Birth { id, slot, generation, primary, name } = birth;
    let begun = settings.map_err(io::Error::other).and_then(|settings| {
        process::set_name(&name)?;
        let birth = worker::Birth { id, slot, generation, primary };
        let worker = worker::begin(birth, channel, board, settings, signal::release)?;
        let preloaded = preloads.map_or(Ok(()), |preloads| preloads()());
        preloaded.map_err(|error| io::Error::other(format!("preload failed: {error}")))?;
        Ok(worker)
    });
    begun.map_or_else(|error| stillborn(id, &error), Role::Worker)
}

/// It can't return as the primary that it is not.
fn stillborn(id: u64, error: &dyn Display) -> ! {
    report::error(format_args!("worker {id} could not begin: {error}"));
    std::process::exit(1)
}

/// What a preload may return: nothing, or a `Result` whose error ends the cluster.
pub trait Preloaded: sealed::Sealed {
    #[doc(hidden)]
    fn result(self) -> Result<(), String>;
}

impl Preloaded for () {
    fn result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Debug> Preloaded for Result<(), E> {
    fn result(self) -> Result<(), String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
}
