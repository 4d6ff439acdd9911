//! The one place that polls: for facts which no event tells, such as "this pid is no longer in /proc".

use std::thread;
use std::time::{Duration, Instant};

/// The deadline of every wait. Long, since the machine may be busy; a passing test never comes near it.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until `holds`, at most for `deadline`; tells whether it came true.
///
/// Only for what the kernel announces to nobody. Whatever has an event, a process's exit for one, is waited for
/// by that event.
#[must_use]
pub fn eventually(deadline: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
}
