//! Signs of life: one for each lane, from the runtime that reads it. They stand on the board, where the primary looks when it is
//! time; by a message it is told how often there is one, and of the first one after one was missing.
//!
//! The link's thread is only the clock. It rings, and a task in the runtime beats when it gets its turn; so a runtime that
//! is blocked is silent, and one without timers is not. Rung from outside, a runtime with several threads gets to see what
//! else there is to do, too, should the one thread that waited for events be blocked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::{Here, To, here};
use crate::board::{self, Line};
use crate::ipc::message::{LaneId, ToPrimary};

/// How many beats there are in the time without any after which a worker is given up.
const BEATS: u32 = 6;

/// So many without a beat, and the primary may think the worse of this worker: it is told of the next one at once.
const LATE: u32 = 2;

/// Between two beats where there will be no other: decades, which may be counted with.
const NEVER_MS: u64 = 1 << 40;

/// All pulses of this process.
#[derive(Debug)]
pub(super) struct Pulses {
    every: Option<Duration>,
    bells: Mutex<Bells>,
    body: Mutex<Body>,
}

#[derive(Debug, Default)]
struct Bells {
    all: Vec<Weak<Notify>>,
    /// Nothing while there is nobody to ring for: then no clock runs.
    next: Option<Instant>,
}

/// The runtime of the body, which beats where there may be no lane.
#[derive(Debug, Default)]
struct Body {
    runtime: Option<Handle>,
    wanted: bool,
}

/// Beats until it is dropped.
#[derive(Debug)]
pub(super) struct Pulse(AbortHandle);

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Pulses {
    /// `within` so long, a sign of life is wanted; none at all where nothing is said.
    pub(super) fn new(within: Option<Duration>) -> Pulses {
        Pulses { every: within.map(|within| within / BEATS), bells: Mutex::default(), body: Mutex::default() }
    }

    /// In the link's thread: rings when it is time. Yields when it is the next time.
    pub(super) fn ring(&self, now: Instant) -> Option<Instant> {
        let mut bells = lock(&self.bells);
        let next = bells.next?;
        if next > now {
            return Some(next);
        }
        bells.all.retain(|bell| bell.upgrade().inspect(|bell| bell.notify_one()).is_some());
        bells.next = self.every.filter(|_| !bells.all.is_empty()).map(|every| now + every);
        bells.next
    }

    /// The clock runs from now on, if it has not before: then the link's thread has to be told.
    fn add(&self, bell: &Arc<Notify>, every: Duration) -> bool {
        let mut bells = lock(&self.bells);
        bells.all.push(Arc::downgrade(bell));
        let stood_still = bells.next.is_none();
        bells.next.get_or_insert_with(|| Instant::now() + every);
        stood_still
    }
}

impl Here {
    /// By the runtime that is to read the lane. Without a line of its own, that no other beats on, it does so by messages.
    pub(super) fn beat_for(&'static self, lane: LaneId, line: Option<u8>, runtime: &Handle) -> Option<Pulse> {
        let line = line.map(|line| self.board.line(Some(line)));
        self.beat(Some(lane), line, runtime)
    }

    /// In the runtime of the body, when it begins.
    pub(super) fn body_runs(&'static self) {
        lock(&self.pulses.body).runtime = Some(Handle::current());
        self.beat_for_body();
    }

    /// This worker is up, and it may be without a lane.
    pub(super) fn is_up(&'static self) {
        lock(&self.pulses.body).wanted = true;
        self.beat_for_body();
    }

    fn beat_for_body(&'static self) {
        let mut body = lock(&self.pulses.body);
        if body.wanted
            && let Some(runtime) = body.runtime.take()
        {
            // As long as the runtime.
            std::mem::forget(self.beat(None, Some(self.board.line(None)), &runtime));
        }
    }

    fn beat(
        &'static self,
        lane: Option<LaneId>,
        line: Option<Line<'static>>,
        runtime: &Handle,
    ) -> Option<Pulse> {
        let To::Primary(link) = &self.to else { return None };
        let Some(every) = self.pulses.every else {
            if lane.is_some() {
                // The primary may have other settings than a worker with an environment of its own, and waits for the lane.
                link.tell(&ToPrimary::Beat { lane, every_ms: NEVER_MS, board_ms: None }, None);
            }
            return None;
        };
        let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        let bell = Arc::new(Notify::new());
        if self.pulses.add(&bell, every) {
            link.wake();
        }
        let line = line.filter(|_| self.board.is_read());
        // After an upgrade that has failed it may be read by a program that knows of no board: taken for the first of many
        // messages, it would be this worker's end, since no other comes while all is well.
        let beat = match line {
            None => ToPrimary::Beat { lane, every_ms, board_ms: None },
            Some(_) => ToPrimary::Beat { lane, every_ms: NEVER_MS, board_ms: Some(every_ms) },
        };
        // Where the last one ends, on its way: while the primary does not read, there is one of them and no more.
        let mut sent = 0;
        let ended = lane.is_none().then_some(Ended);
        // By whoever says that it is up, who may hang in the next moment; and before the primary, whose settings may be others,
        // has waited longer than there is between two of ours.
        link.tell_again(&beat, &mut sent);
        line.map(|line| line.beat(board::now()));
        let late = u64::try_from((every * LATE).as_nanos()).unwrap_or(u64::MAX);
        let task = runtime.spawn(async move {
            let _ended = ended;
            loop {
                bell.notified().await;
                let now = board::now();
                if line.is_none_or(|line| now.saturating_sub(line.beat(now)) > late) {
                    link.tell_again(&beat, &mut sent);
                }
            }
        });
        Some(Pulse(task.abort_handle()))
    }
}

/// Says that the body's runtime has ended: what comes after it is not silence.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        here().tell(&ToPrimary::Still);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::link::Link;
    use super::super::{ALONE, Here, To};
    use super::*;
    use crate::config::Settings;
    use crate::ipc::channel::{Intake, decode};
    use crate::ipc::frame::Head;
    use crate::sys::scm;

    /// Mutation: beat only when the first time is over; or not at all where this worker is to have no heartbeat.
    #[test]
    fn a_primary_of_other_settings_knows_at_once_how_often_a_lane_beats() {
        for (time, every) in [(Duration::from_secs(60), 10_000), (Duration::MAX, NEVER_MS)] {
            let (ours, theirs) = scm::stream_pair().unwrap();
            let link = Link::new(ours, scm::stream_pair().unwrap().0).unwrap();
            let settings = Settings { heartbeat_timeout: time, ..Settings::default() };
            let here: &'static Here =
                Box::leak(Box::new(Here::new(ALONE, settings, To::Primary(Box::new(link)))));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _pulse = here.beat_for(LaneId(3), Some(1), runtime.handle());
            let mut intake = Intake::default();
            intake.read(&theirs).unwrap();
            let said = decode(&intake.next().unwrap().expect("a beat").body).unwrap();
            assert!(
                matches!(said, ToPrimary::Beat { lane: Some(LaneId(3)), every_ms, board_ms: None } if every_ms == every)
            );
        }
    }

    /// Mutation: say in each how often it beats. A primary of before the board would wait for the next one.
    #[test]
    fn p101_word_of_beats_on_the_board_makes_nobody_wait_who_does_not_see_it() {
        let (ours, theirs) = scm::stream_pair().unwrap();
        let link = Link::new(ours, scm::stream_pair().unwrap().0).unwrap();
        let settings = Settings { heartbeat_timeout: Duration::from_secs(60), ..Settings::default() };
        let board = board::Board::of(board::make().unwrap().0).unwrap();
        let here = Here { board, ..Here::new(ALONE, settings, To::Primary(Box::new(link))) };
        let here: &'static Here = Box::leak(Box::new(here));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _pulse = here.beat_for(LaneId(3), Some(1), runtime.handle());
        // The last one was long ago.
        board.line(Some(1)).beat(1);
        here.pulses.ring(Instant::now() + Duration::from_secs(10));
        runtime.block_on(async { tokio::task::yield_now().await });
        let mut intake = Intake::default();
        intake.read(&theirs).unwrap();
        let said =
            std::iter::from_fn(|| intake.next().unwrap()).filter(|packet| packet.head == Head::CONTROL);
        let said: Vec<_> = said
            .map(|packet| match decode(&packet.body).unwrap() {
                ToPrimary::Beat { lane: Some(LaneId(3)), every_ms, board_ms } => (every_ms, board_ms),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(said, [(NEVER_MS, Some(10_000)); 2]);
    }
}
