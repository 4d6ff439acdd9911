//! Orphans that became this process's children: as pid 1 of a container, or as a child subreaper, it is the one who has to
//! reap them, or they stay zombies.
//!
//! Nothing tells such a stranger from a child that a callback has started and will wait for by itself. So it is reaped
//! only when it was found dead at two looks, at least [`APART`] from each other: who waits for its own has done so by then.
//! Workers and nurseries, who are waited for by name, are never among them. Only one process is waited for at a time, by a pidfd that
//! was opened while it was a zombie of ours: so no other can be meant.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use super::{Loop, report};
use crate::sys::pidfd::Child;
use crate::sys::process;

/// Between two looks.
const APART: Duration = Duration::from_secs(1);

/// Each is a descriptor until the next look.
const MOST_AT_ONCE: usize = 1024;

/// Whoever is not ours and died.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Orphans come to us.
    adopts: bool,
    look_at: Option<Instant>,
    looked: Option<Instant>,
    /// Found dead at the last look.
    dead: BTreeMap<u32, Child>,
    told_error: bool,
}

impl Strangers {
    /// Looks at once, where orphans come to us: some may have been there before this program was.
    pub(super) fn new(adopts: bool, now: Instant) -> Strangers {
        Strangers { adopts, look_at: adopts.then_some(now), ..Strangers::default() }
    }

    /// A child has died: somebody's, perhaps.
    pub(super) fn stir(&mut self, now: Instant) {
        if !self.adopts {
            return;
        }
        let next = self.looked.map_or(now, |looked| looked + APART);
        self.look_at.get_or_insert(next.max(now));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.look_at
    }

    /// Reaps who was dead at the last look, and finds who is now.
    fn look(&mut self, ours: &BTreeSet<u32>, now: Instant) -> io::Result<()> {
        self.look_at = None;
        self.looked = Some(now);
        let mut reaped = 0;
        for (pid, child) in std::mem::take(&mut self.dead) {
            // Ours by now, if it was born so early that nobody had told us of it.
            if !ours.contains(&pid) && matches!(child.reap(), Ok(Some(_))) {
                reaped += 1;
            }
        }
        if reaped > 0 {
            report::info(format_args!("{reaped} processes were reaped that others had left behind"));
        }
        let strangers = process::children()?.into_iter().filter(|pid| !ours.contains(pid));
        for pid in strangers {
            if self.dead.len() == MOST_AT_ONCE {
                break;
            }
            match Child::that_died(pid) {
                Ok(Some(child)) => drop(self.dead.insert(pid, child)),
                Ok(None) => {}
                // Short of descriptors: the others are found when these are gone.
                Err(_) if !self.dead.is_empty() => break,
                Err(error) => {
                    self.look_at = Some(now + APART);
                    return Err(error);
                }
            }
        }
        if !self.dead.is_empty() {
            self.look_at = Some(now + APART);
        }
        Ok(())
    }
}

impl Loop {
    pub(super) fn look_at_strangers(&mut self, now: Instant) {
        if self.strangers.look_at.is_none_or(|at| at > now) {
            return;
        }
        if self.nurseries.are_at_work() {
            // A worker that it has just born is our child, and we do not know its pid yet.
            self.strangers.look_at = Some(now + APART);
            return;
        }
        let ours = self.children.values().map(Child::pid).chain(self.nurseries.pids()).collect();
        if let Err(error) = self.strangers.look(&ours, now)
            && !std::mem::replace(&mut self.strangers.told_error, true)
        {
            report::error(format_args!("looking for orphans that have died: {error}; they stay zombies"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_child() -> (std::process::Child, u32) {
        let child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let ended = || Child::that_died(pid).is_ok_and(|dead| dead.is_some());
        while !ended() {
            std::thread::yield_now();
        }
        (child, pid)
    }

    /// Other tests of this process have children too, which are not to be touched: those are ours here.
    fn all_but(strangers: &[u32]) -> BTreeSet<u32> {
        let all = process::children().unwrap().into_iter();
        all.filter(|pid| !strangers.contains(pid)).collect()
    }

    /// Mutation: reap at the first look; reap whom somebody knows by name.
    #[test]
    fn who_is_dead_at_two_looks_is_reaped_and_nobody_else() {
        let now = Instant::now();
        let (mut ours, ours_pid) = dead_child();
        let (mut waited_for, waited_for_pid) = dead_child();
        let (mut orphan, orphan_pid) = dead_child();
        let known = || all_but(&[waited_for_pid, orphan_pid]).into_iter().chain([ours_pid]).collect();
        let mut strangers = Strangers::new(true, now);
        assert_eq!(strangers.deadline(), Some(now));
        strangers.look(&known(), now).unwrap();
        assert!(waited_for.wait().unwrap().success(), "the first look takes nothing");
        assert_eq!(strangers.deadline(), Some(now + APART));
        strangers.look(&known(), now + APART).unwrap();
        assert!(orphan.wait().is_err(), "the second one does");
        assert!(ours.wait().unwrap().success(), "but whom we know");
        assert_eq!(strangers.deadline(), None, "nobody is left to look for");
    }

    /// Mutation: look at each death.
    #[test]
    fn looks_are_apart() {
        let now = Instant::now();
        let mut strangers = Strangers::new(true, now);
        strangers.look(&all_but(&[]), now).unwrap();
        strangers.stir(now + APART / 2);
        strangers.stir(now + APART / 2);
        assert_eq!(strangers.deadline(), Some(now + APART));
        let mut others = Strangers::new(false, now);
        others.stir(now);
        assert_eq!(others.deadline(), None, "where orphans go to another process, it is for that one");
    }
}
