//! The cluster's end, and the time before it, without a process.

use std::time::Duration;

use super::*;
use crate::config::Restart;
use crate::event::{ExitStatus, State};
use crate::primary::slot::Id;
use crate::primary::step::{Event, Ids, Input, Rules};
use crate::reload::ReloadFailure;

const SECOND: Duration = Duration::from_secs(1);
const PRE_DRAIN: Duration = Duration::from_secs(5);
const KILLED: ExitStatus = ExitStatus::Signal(Signal::KILL);
const TERM: Input = Input::Stop { signal: Some(Signal::TERM) };
const INT: Input = Input::Stop { signal: Some(Signal::INT) };
const BY_CALLBACK: Input = Input::Stop { signal: None };

struct World {
    fleet: Fleet,
    now: Instant,
}

impl World {
    /// Two workers, which are ready if they `serve`.
    fn new(serve: bool) -> World {
        let rules = Rules { max_restarts: 3, pre_drain: PRE_DRAIN, ..Rules::usual() };
        let mut world = World { fleet: Fleet::new(rules, Ids::default()), now: Instant::now() };
        world.tell(Input::Start { workers: 2 });
        for id in [1, 2].into_iter().filter(|_| serve) {
            world.up(id);
        }
        world
    }

    fn tell(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = self.fleet.step(input, self.now);
        let mut at = 0;
        while at < effects.len() {
            if let Effect::Spawn { id, .. } = effects[at] {
                effects.extend(self.fleet.step(Input::Born { id }, self.now));
            }
            at += 1;
        }
        effects
    }

    fn up(&mut self, id: u64) {
        self.tell(Input::Online { id: Id(id) });
        self.tell(Input::Ready { id: Id(id) });
    }

    fn dies(&mut self, id: u64, status: ExitStatus) -> Vec<Effect> {
        self.tell(Input::Closed { id: Id(id) });
        self.tell(Input::Exited { id: Id(id), status })
    }

    fn after(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.tell(Input::Tick)
    }

    fn state(&self, id: u64) -> State {
        self.fleet.member(Id(id)).map_or(State::Dead, crate::primary::slot::Member::state)
    }
}

fn drained() -> Vec<Effect> {
    vec![Effect::StopListening, Effect::Drain { id: Id(1) }, Effect::Drain { id: Id(2) }]
}

fn foretold(ids: &[u64]) -> Vec<Effect> {
    ids.iter().map(|id| Effect::Foretell { id: Id(*id) }).collect()
}

/// Mutation: drain at once; or never.
#[test]
fn all_goes_on_for_a_while_and_is_drained_then() {
    for stop in [TERM, BY_CALLBACK] {
        let mut world = World::new(true);
        assert_eq!(world.tell(stop), foretold(&[1, 2]));
        assert!(world.fleet.is_told_to_stop() && !world.fleet.is_stopping());
        assert_eq!(world.state(1), State::Listening);
        assert_eq!(world.fleet.deadline(), Some(world.now + PRE_DRAIN));
        assert_eq!(world.after(PRE_DRAIN - Duration::from_millis(1)), []);
        assert_eq!(world.after(Duration::from_millis(1)), drained());
        assert!(world.fleet.is_stopping());
        // From here on it is as ever.
        let killed = world.after(5 * SECOND + Duration::from_millis(500));
        assert_eq!(killed.len(), 2);
        world.dies(1, KILLED);
        world.dies(2, KILLED);
        assert_eq!(world.fleet.end(), Some(Ok(())));
    }
}

/// Mutation: let the second signal mean now; let it mean nothing; forget that the third one does.
#[test]
fn a_second_signal_cuts_it_short_and_a_third_kills() {
    let mut world = World::new(true);
    world.tell(TERM);
    assert!(!world.fleet.was_signalled(), "the next one does not mean now");
    assert_eq!(world.tell(INT), drained());
    assert!(world.fleet.was_signalled());
    assert_eq!(world.tell(TERM).len(), 2, "everybody is killed");
    world.dies(1, KILLED);
    world.dies(2, KILLED);
    assert_eq!(world.fleet.end(), Some(Err(&Failure::Stopped { signal: Signal::TERM })));
}

/// A program may answer the signal by `disconnect()`, before we do. Mutation: count the callback's as the first.
#[test]
fn the_callback_of_a_signal_and_the_signal_are_one() {
    let mut world = World::new(true);
    assert_eq!(world.tell(BY_CALLBACK), foretold(&[1, 2]));
    assert_eq!(world.tell(TERM), []);
    assert_eq!(world.tell(BY_CALLBACK), [], "asked again by a callback, it goes on");
    assert_eq!(world.tell(TERM), drained());
}

/// Mutation: kill only who drains.
#[test]
fn now_is_now() {
    let mut world = World::new(true);
    world.tell(TERM);
    let effects = world.tell(Input::StopNow { signal: Signal::QUIT });
    assert_eq!(effects[0], Effect::StopListening);
    assert_eq!(effects.len(), 3);
    assert_eq!(world.after(PRE_DRAIN), [], "and nothing is drained later");
    world.dies(1, KILLED);
    world.dies(2, KILLED);
    assert_eq!(world.fleet.end(), Some(Err(&Failure::Stopped { signal: Signal::QUIT })));
}

/// Mutation: take the time before the drain for the drain, in which nobody is replaced; or leave who is new in the dark.
#[test]
fn who_dies_is_replaced_and_the_replacement_is_told() {
    let mut world = World::new(true);
    world.tell(TERM);
    let effects = world.dies(2, KILLED);
    assert_eq!(
        effects[1..],
        [
            Effect::Spawn { id: Id(3), slot: 1, generation: 1 },
            Effect::Publish(Event::Fork(Id(3))),
            Effect::Foretell { id: Id(3) }
        ]
    );
    world.up(3);
    assert_eq!(world.state(3), State::Listening);
    let id = world.fleet.ids.next();
    assert_eq!(world.tell(Input::Fork { id }).len(), 3, "and a callback may ask for one more");
    assert_eq!(world.after(PRE_DRAIN).len(), 4);
}

/// Mutation: begin one; let the one that runs go on.
#[test]
fn nothing_is_reloaded_any_more() {
    let failed = |effects: &[Effect]| {
        effects.iter().any(|effect| {
            matches!(effect, Effect::Reloaded(reload) if reload.failure == Some(ReloadFailure::Stopped))
        })
    };
    let mut world = World::new(true);
    world.tell(TERM);
    let effects = world.tell(Input::Reload);
    assert!(failed(&effects) && effects.len() == 1, "{effects:?}");

    let mut world = World::new(true);
    world.tell(Input::Reload);
    let effects = world.tell(TERM);
    assert!(failed(&effects), "{effects:?}");
    assert!(effects.contains(&Effect::Drain { id: Id(3) }), "who was coming is not wanted: {effects:?}");
    assert_eq!((world.state(1), world.state(2)), (State::Listening, State::Listening));
    world.dies(3, ExitStatus::Code(0));
    assert_eq!(world.after(PRE_DRAIN), drained());
}

/// Mutation: wait for a load balancer that was never sent here.
#[test]
fn where_nobody_was_ever_ready_there_is_nothing_to_wait_for() {
    let mut world = World::new(false);
    assert_eq!(world.tell(TERM), drained());
}

/// Mutation: go on though nobody is left; take their ends for the program's.
#[test]
fn it_ends_when_nobody_is_left() {
    for status in [ExitStatus::Code(0), ExitStatus::Code(3)] {
        let mut world = World::new(true);
        world.fleet.rules.restart = Restart::Never;
        world.tell(TERM);
        world.dies(1, status);
        world.dies(2, status);
        assert_eq!(world.fleet.end(), Some(Ok(())), "it was told to stop, and did");
        assert_eq!(world.fleet.step(Input::Tick, world.now + PRE_DRAIN), [Effect::StopListening]);
    }
}

/// Mutation: wait on, though the workers crash again and again.
#[test]
fn who_gives_up_does_not_wait() {
    let mut world = World::new(true);
    world.fleet.rules.max_restarts = 1;
    world.tell(TERM);
    for _ in 0..100 {
        let Some(id) = world.fleet.members().map(|(id, _)| id.0).find(|id| *id != 1) else {
            world.now += Duration::from_millis(10);
            let _ = world.fleet.step(Input::Tick, world.now);
            continue;
        };
        if world.fleet.is_stopping() {
            break;
        }
        world.dies(id, ExitStatus::Code(42));
    }
    world.dies(1, KILLED);
    assert!(world.fleet.is_stopping() && world.now < Instant::now() + PRE_DRAIN / 2);
    assert!(matches!(world.fleet.end(), Some(Err(Failure::GaveUp { .. }))), "{:?}", world.fleet.end());
}
