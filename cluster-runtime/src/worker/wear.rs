//! When this worker has done enough: so many requests, or so much memory. It says so once, and serves on until it is told
//! to leave.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Settings;
use crate::ipc::message::Wear;
use crate::sys::process;
use crate::{jitter, report};

/// Between two looks at the memory.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// The kernel walks all pages for each look: of the thread's time it is to take this part at most.
const ONE_OF: u32 = 100;

#[derive(Debug)]
pub(super) struct Wearing {
    most_requests: Option<u64>,
    requests: AtomicU64,
    most_memory: Option<u64>,
    /// None when there will be no more.
    next_look: Mutex<Option<Instant>>,
    told: AtomicBool,
}

impl Wearing {
    pub(super) fn new(worker: u64, settings: &Settings) -> Wearing {
        let about = |requests: u64| (requests as f64 * jitter::of_worker(worker)).round().max(1.0) as u64;
        Wearing {
            most_requests: settings.max_requests.map(about),
            requests: AtomicU64::new(0),
            most_memory: settings.max_memory,
            next_look: Mutex::new(settings.max_memory.map(|_| Instant::now() + BETWEEN_LOOKS)),
            told: AtomicBool::new(false),
        }
    }

    /// One request more. Yields, once, that it is enough.
    pub(super) fn served(&self) -> Option<Wear> {
        let most = self.most_requests?;
        let served = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        (served >= most).then_some(Wear::Requests(served)).filter(|_| self.is_news())
    }

    /// Looks at the memory, where it is time. Yields, once, that it is enough, and when to look again.
    pub(super) fn weigh(&self, now: Instant) -> (Option<Wear>, Option<Instant>) {
        let mut next = self.next_look.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_none_or(|at| at > now) {
            return (None, *next);
        }
        let worn = self.look();
        let took = now.elapsed();
        let again = Instant::now() + BETWEEN_LOOKS.max(took * ONE_OF);
        *next = (!self.told.load(Ordering::Relaxed)).then_some(again);
        match worn {
            Ok(worn) => (worn, *next),
            Err(error) => {
                report::error(format_args!(
                    "reading how much memory this worker has: {error}; max_memory has no effect"
                ));
                *next = None;
                (None, None)
            }
        }
    }

    fn look(&self) -> io::Result<Option<Wear>> {
        let Some(most) = self.most_memory else { return Ok(None) };
        let bytes = process::own_memory()?;
        Ok((bytes > most).then_some(Wear::Memory(bytes)).filter(|_| self.is_news()))
    }

    fn is_news(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_at_about_so_many_requests() {
        for worker in 1..20 {
            let settings = Settings { max_requests: Some(200), ..Settings::default() };
            let wearing = Wearing::new(worker, &settings);
            let said: Vec<_> = (0..400).filter_map(|_| wearing.served()).collect();
            let [Wear::Requests(served)] = said[..] else { panic!("{said:?}") };
            assert!((180..=220).contains(&served), "{served}");
        }
    }

    #[test]
    fn memory_is_looked_at_in_its_time_and_said_once() {
        let settings = Settings { max_memory: Some(1), ..Settings::default() };
        let wearing = Wearing::new(1, &settings);
        let (worn, again) = wearing.weigh(Instant::now());
        assert!(worn.is_none() && again.is_some(), "not yet");
        let (worn, again) = wearing.weigh(Instant::now() + BETWEEN_LOOKS);
        assert!(matches!(worn, Some(Wear::Memory(bytes)) if bytes > 1 << 16) && again.is_none(), "{worn:?}");
        assert_eq!(wearing.weigh(Instant::now() + 10 * BETWEEN_LOOKS), (None, None));
        assert_eq!(Wearing::new(1, &Settings::default()).weigh(Instant::now() + BETWEEN_LOOKS), (None, None));
    }
}
