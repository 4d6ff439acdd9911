//! Whether to respawn, when, and when to stop trying. Pure.
//!
//! A worker that has served and dies is respawned at once. One that dies before it has is respawned later and
//! later; and when there were too many of those within the window, the cluster gives up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::Restart;
use crate::event::{Exit, Reason};
use crate::jitter::fraction;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// A slot's consecutive deaths before any proof of service.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Streak {
    pub(super) deaths: u32,
}

impl Streak {
    pub(crate) fn reset(&mut self) {
        self.deaths = 0;
    }

    /// One more. Yields how long to wait before the slot is filled again: not at all after the first, then
    /// twice as long each time, a quarter more or less so that slots that died together do not come together.
    pub(crate) fn lengthen(&mut self, salt: u64) -> Duration {
        self.deaths = self.deaths.saturating_add(1);
        let Some(doublings) = self.deaths.checked_sub(2) else { return Duration::ZERO };
        let delay = FIRST_DELAY.saturating_mul(1 << doublings.min(16)).min(LONGEST_DELAY);
        delay.mul_f64(0.75 + 0.5 * fraction(salt ^ u64::from(self.deaths) << 32))
    }
}

/// The unproven deaths of late, of all slots.
#[derive(Debug, Default)]
pub(crate) struct Deaths {
    pub(super) at: VecDeque<Instant>,
}

impl Deaths {
    /// One more. Yields whether these are more than `max` within `window`.
    pub(crate) fn add(&mut self, now: Instant, max: u32, window: Duration) -> bool {
        self.at.push_back(now);
        while self.at.front().is_some_and(|at| now.duration_since(*at) > window) {
            self.at.pop_front();
        }
        self.at.len() > max as usize
    }
}

/// Whether a slot is to be filled again after this end.
pub(crate) fn is_respawned(restart: Restart, exit: &Exit) -> bool {
    match restart {
        _ if exit.exited_after_disconnect() => false,
        Restart::Always => true,
        // A worker that was told to leave because it had stalled may have the grace to exit with 0.
        Restart::OnFailure => exit.code() != Some(0) || exit.reason == Reason::Stalled,
        Restart::Never => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_delays_grow_are_bounded_and_jittered_and_reset_by_service() {
        let mut streak = Streak::default();
        assert_eq!(streak.lengthen(1), Duration::ZERO);
        let mut nominal = FIRST_DELAY;
        let mut delays = Vec::new();
        for _ in 0..40 {
            let delay = streak.lengthen(1);
            assert!(delay >= nominal.mul_f64(0.75) && delay <= nominal.mul_f64(1.25), "{delay:?}");
            delays.push(delay);
            nominal = (nominal * 2).min(LONGEST_DELAY);
        }
        delays.dedup();
        assert!(delays.len() > 30, "no jitter: {delays:?}");
        streak.reset();
        assert_eq!(streak.lengthen(1), Duration::ZERO);
    }

    #[test]
    fn p12_slots_that_die_together_come_back_apart() {
        let mut delays: Vec<_> = (0..8)
            .map(|salt| {
                let mut streak = Streak::default();
                streak.lengthen(salt);
                streak.lengthen(salt)
            })
            .collect();
        delays.sort();
        delays.dedup();
        assert_eq!(delays.len(), 8);
    }

    #[test]
    fn p06_deaths_further_apart_than_the_window_never_end_it() {
        let window = Duration::from_secs(5);
        let apart = window + Duration::from_millis(1);
        let mut deaths = Deaths::default();
        let mut now = Instant::now();
        for death in 0..20 {
            assert!(!deaths.add(now, 1, window), "death {death} is the only one in its window");
            now += apart;
        }
        assert_eq!(deaths.at.len(), 1, "and nothing is kept of the others");
    }

    #[test]
    fn p10_who_comes_back_by_policy_and_by_end() {
        use crate::event::{ExitStatus, Reason, Signal};
        let end = |status, reason, asked| Exit {
            status,
            reason,
            asked,
            lived: Duration::ZERO,
            told: false,
            said: String::new(),
        };
        let ends = [
            end(ExitStatus::Code(0), Reason::Finished, false),
            end(ExitStatus::Code(1), Reason::Failed, false),
            end(ExitStatus::Signal(Signal::KILL), Reason::Killed, false),
            end(ExitStatus::Code(0), Reason::Asked, true),
            end(ExitStatus::Signal(Signal::KILL), Reason::TimedOut, true),
        ];
        for (restart, expected) in [
            (Restart::Always, [true, true, true, false, false]),
            (Restart::OnFailure, [false, true, true, false, false]),
            (Restart::Never, [false, false, false, false, false]),
        ] {
            assert_eq!(ends.each_ref().map(|end| is_respawned(restart, end)), expected, "{restart:?}");
        }
    }

    #[test]
    fn p07_only_deaths_within_the_window_count() {
        let (start, window) = (Instant::now(), Duration::from_secs(5));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deaths = Deaths::default();
        assert!(!deaths.add(at(0), 2, window));
        assert!(!deaths.add(at(1), 2, window));
        assert!(!deaths.add(at(7), 2, window));
        assert!(!deaths.add(at(8), 2, window));
        assert!(deaths.add(at(9), 2, window));
        assert!(Deaths::default().add(at(0), 0, window), "0 gives up at the first");
    }
}
