//! What a service manager is told: sd_notify(3), systemd's `Type=notify` and `notify-reload`.
//!
//! What is said when is [`Story`]'s, and pure. An upgrade is for it what a reload is: who performs one calls
//! [`Loop::tell_reload_begins`] and [`Loop::tell_reload_ends`]. The process keeps its pid, so MAINPID is never said; and an image
//! that takes over goes on with the story where the one before it has left it: in the middle of an upgrade.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::step::Fleet;
use super::{Loop, report};
use crate::event::State;
use crate::sys::notify_socket::NotifySocket;
use crate::sys::process;

/// What can be seen of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
struct View {
    /// Workers that serve, and those that there are to be.
    serve: usize,
    wanted: usize,
    /// Everybody who is to be there is ready.
    up: bool,
    /// Of those who serve, where no reload runs.
    generation: u64,
    /// It was told to stop.
    told_to_stop: bool,
    stopping: bool,
    left: usize,
}

impl View {
    fn of(fleet: &Fleet) -> View {
        let filled = |slot: &&super::step::Slot| slot.holder.is_some() || slot.refill_at.is_some();
        let wanted = fleet.slots.iter().filter(filled).count();
        let is_up = |slot: &super::step::Slot| {
            let holder = slot.holder.and_then(|id| fleet.member(id));
            slot.refill_at.is_none() && holder.is_none_or(|holder| holder.asked || holder.ready().is_some())
        };
        View {
            serve: fleet.members().filter(|(_, member)| member.state() == State::Listening).count(),
            wanted,
            up: fleet.has_served() && fleet.slots.iter().all(is_up),
            generation: fleet.generation(),
            told_to_stop: fleet.is_told_to_stop(),
            stopping: fleet.is_stopping(),
            left: fleet.members().count(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Chapter {
    #[default]
    Starting,
    Serving,
    Reloading,
    Stopping,
}

/// What was said, and so what is to be said next. Pure.
#[derive(Debug, Default)]
struct Story {
    chapter: Chapter,
    status: String,
    /// How the last reload failed, until the next one begins.
    failed: Option<String>,
}

/// A status is a line for a person.
const LONGEST: usize = 500;

impl Story {
    /// What is new, since something may have happened.
    fn look(&mut self, view: &View) -> Option<String> {
        let mut words = String::new();
        if view.told_to_stop && self.chapter != Chapter::Stopping {
            self.chapter = Chapter::Stopping;
            words.push_str("STOPPING=1\n");
        }
        if self.chapter == Chapter::Starting && view.up {
            self.chapter = Chapter::Serving;
            words.push_str("READY=1\n");
        }
        self.add_status(view, &mut words);
        Some(words).filter(|words| !words.is_empty())
    }

    /// A reload, or an upgrade, begins. Who is not ready yet has said nothing that this would be news to.
    fn begins(&mut self, view: &View, monotonic_micros: i64) -> Option<String> {
        if self.chapter != Chapter::Serving {
            return None;
        }
        (self.chapter, self.failed) = (Chapter::Reloading, None);
        let mut words = format!("RELOADING=1\nMONOTONIC_USEC={monotonic_micros}\n");
        self.add_status(view, &mut words);
        Some(words)
    }

    /// It has ended. A failed one too has left a cluster that serves.
    fn ends(&mut self, view: &View, failure: Option<String>) -> Option<String> {
        self.failed = failure;
        if self.chapter != Chapter::Reloading || view.told_to_stop {
            return None;
        }
        self.chapter = Chapter::Serving;
        let mut words = "READY=1\n".to_owned();
        self.add_status(view, &mut words);
        Some(words)
    }

    fn add_status(&mut self, view: &View, words: &mut String) {
        let status = self.status(view);
        if status != self.status {
            words.push_str(&format!("STATUS={status}\n"));
            self.status = status;
        }
    }

    fn status(&self, view: &View) -> String {
        let View { serve, wanted, generation, left, .. } = view;
        let serving = match serve {
            1 => "1 worker serves".to_owned(),
            serve => format!("{serve} workers serve"),
        };
        match (self.chapter, &self.failed) {
            (Chapter::Starting, _) => format!("starting: {serve} of {wanted} workers are ready"),
            (Chapter::Serving, None) => format!("{serving}, generation {generation}"),
            (Chapter::Serving, Some(failed)) => {
                // Each line of a message is an assignment of its own: what others have said is none.
                let failed: String =
                    failed.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
                format!("{serving}, generation {generation}; {failed}")
            }
            (Chapter::Reloading, _) => format!("reloading: {serving}"),
            (Chapter::Stopping, _) if !view.stopping => format!("stopping soon: {serving}"),
            (Chapter::Stopping, _) => format!("stopping: {left} left to finish"),
        }
    }
}

/// What is said at fixed times, by the loop itself: one that is stuck says nothing.
#[derive(Debug)]
struct Watchdog {
    every: Duration,
    next: Instant,
}

impl Watchdog {
    /// At half the time after which the manager takes this process for stuck; not at all where `pid` is another's.
    fn new(micros: Option<&str>, pid: Option<&str>, ours: u32, now: Instant) -> Option<Watchdog> {
        let micros: u64 = micros?.parse().ok().filter(|micros| *micros > 0)?;
        let for_us = pid.is_none_or(|pid| pid.parse() == Ok(ours));
        for_us.then_some(Watchdog { every: Duration::from_micros(micros) / 2, next: now })
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.next <= now;
        if due {
            self.next = now + self.every;
        }
        due
    }
}

/// How much is kept for a manager that does not read: what it waits for, and then how it is now.
const MOST_UNSENT: usize = 32;

/// Whether it only tells how it is: what is older than another of these is no news.
fn is_passing(words: &str) -> bool {
    words.lines().all(|line| line.starts_with("STATUS=") || line.starts_with("WATCHDOG="))
}

/// When a manager that has too much to read is told again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The service manager, as far as it is told. Without NOTIFY_SOCKET, or the feature `systemd`, nothing ever is.
#[derive(Debug, Default)]
pub(super) struct Notify {
    socket: Option<NotifySocket>,
    story: Story,
    watchdog: Option<Watchdog>,
    unsent: VecDeque<String>,
    again_at: Option<Instant>,
    told_error: bool,
}

impl Notify {
    /// As the environment says, which is left as it is: an image that this process turns into is to find it.
    pub(super) fn from_environment(now: Instant) -> Notify {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|_| cfg!(feature = "systemd")) else {
            return Notify::default();
        };
        match NotifySocket::open(&address) {
            Ok(socket) => {
                let variable = |name| std::env::var(name).ok();
                let (micros, pid) = (variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
                let watchdog = Watchdog::new(micros.as_deref(), pid.as_deref(), std::process::id(), now);
                Notify { socket: Some(socket), watchdog, ..Notify::default() }
            }
            Err(error) => {
                report::warn(format_args!("NOTIFY_SOCKET={}: {error}; nobody is told", address.display()));
                Notify::default()
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let watchdog = self.watchdog.as_ref().map(|watchdog| watchdog.next);
        watchdog.into_iter().chain(self.again_at).min()
    }

    fn say(&mut self, words: Option<String>, now: Instant) {
        if words.is_none() {
            return;
        }
        self.unsent.extend(words);
        if self.unsent.len() > MOST_UNSENT {
            // A manager that is never told READY=1 or RELOADING=1 takes what it started, or reloads, for one that has failed.
            let passing = self.unsent.iter().position(|words| is_passing(words));
            self.unsent.remove(passing.unwrap_or(0));
        }
        self.send(now);
    }

    fn send(&mut self, now: Instant) {
        self.again_at = None;
        let Some(socket) = &self.socket else { return self.unsent.clear() };
        while let Some(words) = self.unsent.front() {
            match socket.send(words) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.again_at = Some(now + AGAIN_AFTER);
                    return;
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.told_error, true) {
                        report::warn(format_args!("telling the service manager {words:?}: {error}"));
                    }
                }
            }
            self.unsent.pop_front();
        }
    }
}

impl Loop {
    /// Tells what is new, once in each turn.
    pub(super) fn tell_service_manager(&mut self, now: Instant) {
        if self.notify.socket.is_none() {
            return;
        }
        let words = self.notify.story.look(&View::of(&self.fleet));
        self.notify.say(words, now);
        if self.notify.again_at.is_some_and(|at| at <= now) {
            self.notify.send(now);
        }
        if self.notify.watchdog.as_mut().is_some_and(|watchdog| watchdog.is_due(now)) {
            self.notify.say(Some("WATCHDOG=1\n".to_owned()), now);
        }
    }

    /// This image takes over in the middle of an upgrade, whose begin the one before has told of.
    pub(super) fn go_on_with_upgrade(&mut self) {
        self.notify.story.chapter = Chapter::Reloading;
        self.upgrading.told = true;
    }

    /// A reload, or an upgrade, begins.
    pub(super) fn tell_reload_begins(&mut self) {
        if self.notify.socket.is_some() {
            let words = self.notify.story.begins(&View::of(&self.fleet), process::monotonic_micros());
            self.notify.say(words, Instant::now());
        }
    }

    /// It has ended; `failure` says how, if it has failed.
    pub(super) fn tell_reload_ends(&mut self, failure: Option<String>) {
        if self.notify.socket.is_some() {
            let words = self.notify.story.ends(&View::of(&self.fleet), failure);
            self.notify.say(words, Instant::now());
        }
    }
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
