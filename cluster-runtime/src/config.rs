//! The cluster's settings: validated values, and what the environment says of them.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::event::Address;
use crate::fork::Fork;
use crate::policy::Choice;

/// How many workers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Workers {
    /// As many as this process may use processors: affinity and the control group's quota are obeyed.
    #[default]
    Cpus,
    /// This many. 0: unclustered, the body runs in the process that was started.
    Count(usize),
}

impl Workers {
    pub(crate) fn count(self) -> usize {
        match self {
            Workers::Cpus => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            Workers::Count(count) => count,
        }
    }
}

/// What runs the body of `main` in a worker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Runtime {
    /// tokio's runtime of one thread.
    CurrentThread,
    /// tokio's runtime of [`threads`](crate::Cluster::threads) threads.
    MultiThread,
    /// actix's `System`, as `#[actix_web::main]` has it.
    #[cfg(feature = "actix")]
    Actix,
    /// None: the body is not async.
    None,
}

/// How a worker comes into being.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Spawn {
    /// By fork(2): at once, and all that the primary has built is in it, shared until it is written to.
    #[default]
    Fork,
    /// By fork(2) and exec(2) of this very program, the file that the primary runs also when another has its name by now:
    /// nothing is inherited, and `main` runs in it from its beginning. Node: always so.
    Exec,
}

/// Where what workers print goes. Node: `stdio` and `silent` of `setupPrimary`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Where the primary's own goes, as each process writes it.
    #[default]
    Inherit,
    /// There too, by way of the primary: line by line, never one within another, each with the slot, the pid and the generation
    /// of its worker before it. The callbacks of [`on_output`](crate::Cluster::on_output) are given it besides.
    Tagged,
    /// To [`on_output`](crate::Cluster::on_output), and nowhere else.
    Captured,
    /// Nowhere.
    Null,
}

/// Whose place is filled again after an end that was not asked for. Node fills none by itself: that is `Never`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Restart {
    /// Everybody's.
    #[default]
    Always,
    /// That of those who failed: a status other than 0, or a signal.
    OnFailure,
    /// Nobody's. Callbacks may still [`fork`](crate::fork).
    Never,
}

/// Which worker gets the next connection. docs/policies.md tells when to take which.
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub enum Policy {
    /// Each in turn, whoever is ready. One that is busy is passed over while another is not, and what it has not read within
    /// some milliseconds is given to others. Node: `SCHED_RR`.
    #[default]
    RoundRobin,
    /// Whoever has the fewest connections open; of several, each in turn. Otherwise as `RoundRobin`.
    LeastConnections,
    /// The same client address, the same slot, as long as that one is ready; a replacement keeps its predecessor's clients. By the
    /// address that connects alone: what a proxy says of its client (`X-Forwarded-For`) is not looked at. A client of a Unix
    /// socket has none, and goes by turns.
    Sticky,
    /// What this function says: a [candidate](Choice::candidates)'s slot. `None` is by turns, and so is a slot that no
    /// candidate has.
    ///
    /// It is called in the primary, on its only thread, once for each connection, and nobody else is served meanwhile: it is to take
    /// microseconds. If it panics, that connection goes by turns. It can't be named by `CLUSTER_POLICY`. In the attribute:
    /// `policy = path::to::function`.
    ///
    /// ```no_run
    /// /// The clients of one network have two places of their own.
    /// fn by_network(choice: &cluster::Choice) -> Option<usize> {
    ///     let inside = choice.peer()?.ip().is_loopback();
    ///     let theirs = choice.candidates().iter().filter(|worker| (worker.slot() < 2) == inside);
    ///     theirs.min_by_key(|worker| worker.load()).map(|worker| worker.slot())
    /// }
    ///
    /// let cluster = cluster::Cluster::new().policy(cluster::Policy::Own(by_network));
    /// ```
    Own(fn(&Choice<'_>) -> Option<usize>),
    /// Workers accept by themselves, from the primary's listening socket. Node: `SCHED_NONE`.
    Shared,
    /// Workers accept by themselves, each place from a listening socket of its own; the kernel chooses. Unix sockets are as in
    /// `Shared`.
    ReusePort,
}

/// What becomes of a client that connects while each worker that is up has as many connections as it may.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Overload {
    /// It waits in the listen backlog until a worker has room.
    #[default]
    Wait,
    /// Its connection is accepted and closed at once, without an answer, so that it can go elsewhere. Node:
    /// `server.dropMaxConnection`.
    Refuse,
}

/// The settings of a cluster, as [`settings`](crate::settings) tells them: to be read, and not to be changed any more.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) workers: Workers,
    pub(crate) threads: usize,
    pub(crate) runtime: Option<Runtime>,
    pub(crate) spawn: Spawn,
    /// What each worker is given.
    pub(crate) fork: Fork,
    pub(crate) output: Output,
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) restart: Restart,
    pub(crate) max_restarts: Option<u32>,
    pub(crate) restart_window: Duration,
    pub(crate) startup_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    /// `Duration::MAX` is never.
    pub(crate) heartbeat_timeout: Duration,
    pub(crate) pre_drain: Duration,
    pub(crate) max_requests: Option<u64>,
    /// In bytes.
    pub(crate) max_memory: Option<u64>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_surge: usize,
    pub(crate) policy: Policy,
    pub(crate) overload: Overload,
    /// As it was written.
    pub(crate) listen: Vec<String>,
    /// As it was read.
    pub(crate) addresses: Vec<Address>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            workers: Workers::Cpus,
            threads: 1,
            runtime: None,
            spawn: Spawn::Fork,
            fork: Fork::new(),
            output: Output::Inherit,
            user: None,
            group: None,
            restart: Restart::Always,
            max_restarts: None,
            restart_window: Duration::from_secs(60),
            startup_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
            heartbeat_timeout: Duration::from_secs(60),
            pre_drain: Duration::ZERO,
            max_requests: None,
            max_memory: None,
            max_age: None,
            max_connections: None,
            max_surge: 1,
            policy: Policy::RoundRobin,
            overload: Overload::Wait,
            listen: Vec::new(),
            addresses: Vec::new(),
        }
    }
}

/// A setting that can't be: which, what it was, what it takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct BadSetting(String);

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadSetting {}

/// For ever, as far as anybody will see; and a clock can be added to it.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Settings {
    /// Lets the environment override: `CLUSTER_` and the argument's name. `variable` looks one up.
    pub(crate) fn with_environment(
        mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, BadSetting> {
        let one = |name: &str| variable(name).map(|value| Variable { name: name.into(), value });
        if let Some(v) = one("CLUSTER_WORKERS") {
            self.workers = if v.value == "cpus" {
                Workers::Cpus
            } else {
                Workers::Count(v.number("\"cpus\" or a number; 0 runs the program unclustered", 0)?)
            };
        }
        if let Some(v) = one("CLUSTER_THREADS") {
            self.threads = v.number("a number from 1 on", 1)?;
        }
        if let Some(v) = one("CLUSTER_RUNTIME") {
            self.runtime = Some(match v.value.as_str() {
                _ if self.runtime == Some(Runtime::None) => {
                    return Err(v.bad("nothing here, since this program's main is not async"));
                }
                "current_thread" => Runtime::CurrentThread,
                "multi_thread" => Runtime::MultiThread,
                #[cfg(feature = "actix")]
                "actix" => Runtime::Actix,
                _ => {
                    return Err(
                        v.bad("\"current_thread\", \"multi_thread\" or, with that feature, \"actix\"")
                    );
                }
            });
        }
        if let Some(v) = one("CLUSTER_SPAWN") {
            self.spawn = match v.value.as_str() {
                "fork" => Spawn::Fork,
                "exec" => Spawn::Exec,
                _ => return Err(v.bad("\"fork\" or \"exec\"")),
            };
        }
        if let Some(v) = one("CLUSTER_CWD") {
            self.fork = self.fork.cwd(v.value);
        }
        if let Some(v) = one("CLUSTER_OUTPUT") {
            self.output = match v.value.as_str() {
                "inherit" => Output::Inherit,
                "tagged" => Output::Tagged,
                "captured" => Output::Captured,
                "null" => Output::Null,
                _ => return Err(v.bad("\"inherit\", \"tagged\", \"captured\" or \"null\"")),
            };
        }
        self.user = variable("CLUSTER_USER").or(self.user);
        self.group = variable("CLUSTER_GROUP").or(self.group);
        if let Some(v) = one("CLUSTER_RESTART") {
            self.restart = match v.value.as_str() {
                "always" => Restart::Always,
                "on-failure" => Restart::OnFailure,
                "never" => Restart::Never,
                _ => return Err(v.bad("\"always\", \"on-failure\" or \"never\"")),
            };
        }
        if let Some(v) = one("CLUSTER_MAX_RESTARTS") {
            self.max_restarts = Some(v.number("a number", 0)?);
        }
        if let Some(v) = one("CLUSTER_RESTART_WINDOW") {
            self.restart_window = v.duration()?;
        }
        if let Some(v) = one("CLUSTER_STARTUP_TIMEOUT") {
            self.startup_timeout = v.duration()?;
        }
        if let Some(v) = one("CLUSTER_DRAIN_TIMEOUT") {
            self.drain_timeout = v.duration()?;
        }
        if let Some(v) = one("CLUSTER_HEARTBEAT_TIMEOUT") {
            self.heartbeat_timeout = if v.value == "off" { Duration::MAX } else { v.duration()? };
        }
        if let Some(v) = one("CLUSTER_PRE_DRAIN") {
            self.pre_drain = if v.value == "0s" { Duration::ZERO } else { v.duration()? };
        }
        if let Some(v) = one("CLUSTER_MAX_REQUESTS") {
            self.max_requests = Some(v.number("a number from 1 on", 1)?);
        }
        if let Some(v) = one("CLUSTER_MAX_MEMORY") {
            self.max_memory = Some(v.size()?);
        }
        if let Some(v) = one("CLUSTER_MAX_AGE") {
            self.max_age = Some(v.duration()?);
        }
        if let Some(v) = one("CLUSTER_MAX_CONNECTIONS") {
            self.max_connections = Some(v.number("a number from 1 on", 1)?);
        }
        if let Some(v) = one("CLUSTER_MAX_SURGE") {
            self.max_surge = v.number("a number from 1 on", 1)?;
        }
        if let Some(v) = one("CLUSTER_POLICY") {
            self.policy = match v.value.as_str() {
                "round-robin" => Policy::RoundRobin,
                "least-connections" => Policy::LeastConnections,
                "sticky" => Policy::Sticky,
                "shared" => Policy::Shared,
                "reuseport" => Policy::ReusePort,
                _ => {
                    return Err(v.bad(
                        "\"round-robin\", \"least-connections\", \"sticky\", \"shared\" or \"reuseport\"",
                    ));
                }
            };
        }
        if let Some(v) = one("CLUSTER_OVERLOAD") {
            self.overload = match v.value.as_str() {
                "wait" => Overload::Wait,
                "refuse" => Overload::Refuse,
                _ => return Err(v.bad("\"wait\" or \"refuse\"")),
            };
        }
        self.checked()
    }

    /// How long a thread may be silent, unless for ever.
    pub(crate) fn heartbeat(&self) -> Option<Duration> {
        Some(self.heartbeat_timeout).filter(|time| *time < LONGEST)
    }

    /// What the builder can get wrong, and the attribute can't.
    fn checked(mut self) -> Result<Settings, BadSetting> {
        let times = [&mut self.restart_window, &mut self.startup_timeout, &mut self.drain_timeout];
        let times = times.into_iter().chain([&mut self.heartbeat_timeout, &mut self.pre_drain]);
        for time in times.chain(&mut self.max_age) {
            *time = (*time).min(LONGEST);
        }
        let zero = |name: &str| Err(BadSetting(format!("`{name}` may not be 0")));
        for (name, value) in [
            ("restart_window", self.restart_window),
            ("startup_timeout", self.startup_timeout),
            ("drain_timeout", self.drain_timeout),
            ("heartbeat_timeout", self.heartbeat_timeout),
            ("max_age", self.max_age.unwrap_or(LONGEST)),
        ] {
            if value.is_zero() {
                return zero(name);
            }
        }
        if self.threads == 0 {
            return zero("threads");
        }
        if self.max_surge == 0 {
            return zero("max_surge");
        }
        if self.max_connections == Some(0) {
            return zero("max_connections");
        }
        if self.max_requests == Some(0) {
            return zero("max_requests");
        }
        if self.max_memory == Some(0) {
            return zero("max_memory");
        }
        if self.runtime == Some(Runtime::CurrentThread) && self.threads > 1 {
            return Err(BadSetting(format!(
                "the runtime \"current_thread\" has one thread, and `threads` is {}: leave one of them out",
                self.threads
            )));
        }
        self.addresses = self.listen.iter().map(|text| address(text)).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Whether a worker may bind this by itself.
    pub(crate) fn allow(&self, address: &Address) -> io::Result<()> {
        match self.addresses.is_empty() || self.addresses.contains(address) {
            true => Ok(()),
            false => Err(self.forbid(address)),
        }
    }

    /// What a worker is told that asks for anything else.
    pub(crate) fn forbid(&self, address: &Address) -> io::Error {
        let listen = self.listen.join(", ");
        let message = format!(
            "a worker asks for {address}, and this cluster listens on what `listen` names only: {listen}"
        );
        io::Error::new(io::ErrorKind::PermissionDenied, message)
    }

    /// What runs the body, where nobody said.
    pub fn runtime(&self) -> Runtime {
        self.runtime.unwrap_or({
            #[cfg(feature = "actix")]
            {
                Runtime::Actix
            }
            #[cfg(not(feature = "actix"))]
            if self.threads == 1 { Runtime::CurrentThread } else { Runtime::MultiThread }
        })
    }

    /// What was tried, where a worker could not become who it was to be.
    pub(crate) fn told_user(&self) -> String {
        let named = |what: &str, name: &Option<String>| name.as_ref().map(|name| format!("{what} {name}"));
        let named: Vec<_> =
            [named("user", &self.user), named("group", &self.group)].into_iter().flatten().collect();
        match named.is_empty() {
            true => String::new(),
            false => format!("as {}, which only root may become: ", named.join(", ")),
        }
    }

    /// How many unproven deaths within the window end the cluster: five a worker where nobody said.
    pub fn max_restarts(&self) -> u32 {
        self.max_restarts
            .unwrap_or_else(|| u32::try_from(self.workers.count()).unwrap_or(u32::MAX).saturating_mul(5))
    }
}

fn address(text: &str) -> Result<Address, BadSetting> {
    let bad = |why: &dyn fmt::Display| {
        Err(BadSetting(format!(
            "`listen` can't be {text:?}: {why}; it takes addresses such as \"127.0.0.1:8000\", \"[::]:80\", \
             \"unix:/run/app.sock\" and \"udp:0.0.0.0:53\""
        )))
    };
    match Address::parse(text) {
        Some(Address::Unix(path)) => match std::path::absolute(path) {
            Ok(path) => Ok(Address::Unix(path)),
            Err(error) => bad(&error),
        },
        Some(address) => Ok(address),
        None => bad(&"this is no address"),
    }
}

struct Variable {
    name: String,
    value: String,
}

impl Variable {
    fn bad(&self, takes: &str) -> BadSetting {
        BadSetting(format!("the environment has {}={:?}, and it takes {takes}", self.name, self.value))
    }

    fn number<N: std::str::FromStr + PartialOrd>(&self, takes: &str, least: N) -> Result<N, BadSetting> {
        self.value.parse().ok().filter(|n| *n >= least).ok_or_else(|| self.bad(takes))
    }

    fn duration(&self) -> Result<Duration, BadSetting> {
        let duration = parse_duration(&self.value).filter(|duration| !duration.is_zero());
        duration.ok_or_else(|| self.bad("a time such as \"30s\", \"250ms\" or \"5m\""))
    }

    fn size(&self) -> Result<u64, BadSetting> {
        let size = parse_size(&self.value).filter(|size| *size > 0);
        size.ok_or_else(|| self.bad("a size such as \"512MB\" or \"1GiB\""))
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "KB" => 1000,
        "MB" => 1000 * 1000,
        "GB" => 1000 * 1000 * 1000,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "GiB" => 1024 * 1024 * 1024,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
