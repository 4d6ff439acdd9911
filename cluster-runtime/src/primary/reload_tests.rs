//! Reloads, without a process.

use super::super::slot::Life;
use super::super::step::{Event, Failure, Ids, Input, Rules};
use super::*;
use crate::config::Restart;
use crate::event::{ExitStatus, Reason, Signal};

const SECOND: Duration = Duration::from_secs(1);
const CRASH: ExitStatus = ExitStatus::Code(42);
const KILLED: ExitStatus = ExitStatus::Signal(Signal::KILL);
const DONE: ExitStatus = ExitStatus::Code(0);

/// A fleet, and a clock of its own.
struct World {
    fleet: Fleet,
    now: Instant,
}

impl World {
    /// With all workers ready, and proven.
    fn serving(workers: usize, surge: usize) -> World {
        let rules = Rules { max_surge: surge, ..Rules::usual() };
        let mut world = World { fleet: Fleet::new(rules, Ids::default()), now: Instant::now() };
        world.tell(Input::Start { workers });
        for id in 1..=workers as u64 {
            world.up(id);
            world.tell(Input::Proven { id: Id(id) });
        }
        world
    }

    /// Steps; births succeed at once, as with fork.
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

    fn up(&mut self, id: u64) -> Vec<Effect> {
        self.tell(Input::Online { id: Id(id) });
        self.tell(Input::Ready { id: Id(id) })
    }

    fn dies(&mut self, id: u64, status: ExitStatus) -> Vec<Effect> {
        let mut effects = self.tell(Input::Closed { id: Id(id) });
        effects.extend(self.tell(Input::Exited { id: Id(id), status }));
        effects
    }

    fn after(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.tell(Input::Tick)
    }

    /// Who holds the slots: ids, with their generation.
    fn holders(&self) -> Vec<(u64, u64)> {
        let holder = |slot: &super::super::step::Slot| {
            let id = slot.holder?;
            Some((id.0, self.fleet.member(id)?.generation))
        };
        self.fleet.slots.iter().filter_map(holder).collect()
    }

    /// A reload from its begin to its success; everybody it replaced is gone.
    fn reload(&mut self) {
        let mut effects = self.tell(Input::Reload);
        while let [(id, _)] = spawns(&effects)[..] {
            effects = self.up(id);
            for old in drains(&effects) {
                self.dies(old, DONE);
            }
        }
    }
}

/// Ids with their slots.
fn spawns(effects: &[Effect]) -> Vec<(u64, usize)> {
    let spawn = |effect: &Effect| match effect {
        Effect::Spawn { id, slot, .. } => Some((id.0, *slot)),
        _ => None,
    };
    effects.iter().filter_map(spawn).collect()
}

fn drains(effects: &[Effect]) -> Vec<u64> {
    let drain = |effect: &Effect| match effect {
        Effect::Drain { id } => Some(id.0),
        _ => None,
    };
    effects.iter().filter_map(drain).collect()
}

fn outcomes(effects: &[Effect]) -> Vec<&Reload> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Reloaded(outcome) => Some(outcome),
            _ => None,
        })
        .collect()
}

fn failed(effects: &[Effect]) -> &ReloadFailure {
    outcomes(effects)[0].result().expect_err("a failure")
}

#[test]
fn p80_slot_by_slot_the_new_one_first_and_the_next_without_waiting_for_the_old_one() {
    let mut world = World::serving(3, 1);
    let effects = world.tell(Input::Reload);
    assert_eq!(effects[0], Effect::Reloading { generation: 2 });
    assert_eq!(effects[1], Effect::Spawn { id: Id(4), slot: 0, generation: 2 });
    assert_eq!((drains(&effects), spawns(&effects)), (vec![], vec![(4, 0)]), "the old one serves on");
    assert!(spawns(&world.tell(Input::Online { id: Id(4) })).is_empty(), "to run is not to be ready");
    let effects = world.tell(Input::Ready { id: Id(4) });
    assert_eq!(
        effects[..2],
        [Effect::Drain { id: Id(1) }, Effect::Spawn { id: Id(5), slot: 1, generation: 2 }]
    );
    world.up(5);
    assert_eq!(world.fleet.generation(), 1, "a birth that has nothing to do with it is of the old one yet");
    world.now += SECOND;
    let effects = world.up(6);
    let done = Reload { generation: 2, took: SECOND, failure: None };
    assert_eq!(effects, [Effect::Drain { id: Id(3) }, Effect::Reloaded(done)]);
    assert_eq!(world.holders(), [(4, 2), (5, 2), (6, 2)]);
    assert_eq!((world.fleet.generation(), world.fleet.reloading()), (2, None));
}

#[test]
fn who_was_replaced_is_not_respawned_and_its_end_says_why() {
    let mut world = World::serving(1, 1);
    world.tell(Input::Reload);
    world.up(2);
    let effects = world.dies(1, DONE);
    assert!(spawns(&effects).is_empty());
    let Some(Effect::Publish(Event::Exit(_, exit))) = effects.last() else { panic!("{effects:?}") };
    assert_eq!((exit.reason(), exit.exited_after_disconnect()), (Reason::Replaced, true));
    assert_eq!(spawns(&world.dies(2, KILLED)), [(3, 0)]);
    assert_eq!(world.holders(), [(3, 2)], "births after it are of the new generation");
}

#[test]
fn p72_who_was_replaced_has_a_drains_time_and_no_more() {
    let mut world = World::serving(1, 1);
    world.tell(Input::Reload);
    world.up(2);
    let killed = Effect::Signal { id: Id(1), signal: Signal::KILL };
    assert!(!world.after(5 * SECOND).contains(&killed));
    assert!(world.after(SECOND).contains(&killed));
    assert!(spawns(&world.dies(1, KILLED)).is_empty());
}

#[test]
fn as_many_come_at_once_as_may() {
    let mut world = World::serving(5, 2);
    assert_eq!(spawns(&world.tell(Input::Reload)), [(6, 0), (7, 1)]);
    let effects = world.up(7);
    assert_eq!((drains(&effects), spawns(&effects)), (vec![2], vec![(8, 2)]));
    assert_eq!(spawns(&World::serving(2, 9).tell(Input::Reload)), [(3, 0), (4, 1)]);
}

#[test]
fn p78_one_that_dies_before_it_is_ready_ends_it_and_nobody_else_is_touched() {
    let mut world = World::serving(3, 2);
    world.tell(Input::Reload);
    let effects = world.dies(5, CRASH);
    let ReloadFailure::Worker { id: 5, exit } = failed(&effects) else { panic!("{effects:?}") };
    assert_eq!((exit.code(), exit.reason()), (Some(42), Reason::NotStarted));
    assert_eq!(drains(&effects), [5, 4], "with its channel; and the other that came is not wanted any more");
    assert!(spawns(&effects).is_empty(), "it is not tried again");
    assert_eq!(world.holders(), [(1, 1), (2, 1), (3, 1)]);
    assert!(spawns(&world.dies(4, DONE)).is_empty());
    assert_eq!(spawns(&world.dies(2, KILLED)), [(6, 1)]);
    assert_eq!(world.fleet.member(Id(6)).map(|member| member.generation), Some(1));
}

#[test]
fn p78_one_that_is_not_ready_in_time_ends_it() {
    let mut world = World::serving(2, 1);
    world.tell(Input::Reload);
    assert_eq!(world.fleet.deadline(), Some(world.now + 10 * SECOND));
    assert!(world.after(10 * SECOND).contains(&Effect::Signal { id: Id(3), signal: Signal::KILL }));
    let effects = world.dies(3, KILLED);
    let ReloadFailure::Worker { id: 3, exit } = failed(&effects) else { panic!("{effects:?}") };
    assert_eq!(exit.reason(), Reason::TimedOut);
    assert_eq!(world.holders(), [(1, 1), (2, 1)]);
}

#[test]
fn one_that_falls_right_after_it_was_ready_ends_it_too() {
    let mut world = World::serving(3, 1);
    world.tell(Input::Reload);
    world.up(4);
    let effects = world.dies(4, CRASH);
    assert!(matches!(failed(&effects), ReloadFailure::Worker { id: 4, .. }));
    assert_eq!(spawns(&effects), [(6, 0)], "its place is filled again");
    assert_eq!(
        world.fleet.member(Id(6)).map(|member| member.generation),
        Some(1),
        "by what is known to work"
    );
    assert_eq!(world.holders(), [(6, 1), (2, 1), (3, 1)]);
}

#[test]
fn one_that_is_killed_from_outside_after_it_was_ready_is_replaced_by_its_like() {
    let mut world = World::serving(2, 1);
    world.tell(Input::Reload);
    world.up(3);
    let effects = world.dies(3, KILLED);
    assert!(outcomes(&effects).is_empty());
    assert_eq!(world.fleet.member(Id(5)).map(|member| (member.slot, member.generation)), Some((0, 2)));
    assert!(outcomes(&world.up(4)).is_empty(), "one of the new ones is not ready yet");
    assert_eq!(outcomes(&world.up(5)).len(), 1);
    assert_eq!(world.holders(), [(5, 2), (4, 2)]);
}

#[test]
fn a_failed_ones_number_is_not_used_again() {
    let mut world = World::serving(1, 1);
    world.tell(Input::Reload);
    assert_eq!(outcomes(&world.dies(2, CRASH))[0].generation(), 2);
    world.reload();
    assert_eq!(world.holders(), [(3, 3)]);
}

#[test]
fn p67_ten_at_once_are_two() {
    let mut world = World::serving(1, 1);
    assert_eq!(spawns(&world.tell(Input::Reload)), [(2, 0)]);
    for _ in 0..9 {
        assert!(spawns(&world.tell(Input::Reload)).is_empty());
    }
    assert_eq!(outcomes(&world.up(2)).len(), 1);
    let effects = world.dies(1, DONE);
    assert_eq!(spawns(&effects), [(3, 0)], "one more, as soon as nobody is left of the first");
    world.up(3);
    assert!(spawns(&world.dies(2, DONE)).is_empty());
    assert_eq!(world.holders(), [(3, 3)]);
}

#[test]
fn p72_no_more_than_two_generations_at_a_time() {
    let mut world = World::serving(2, 1);
    world.tell(Input::Reload);
    world.up(3);
    world.up(4);
    for _ in 0..20 {
        assert!(world.tell(Input::Reload).is_empty());
    }
    assert_eq!(world.fleet.members().count(), 4);
    world.dies(1, DONE);
    assert_eq!(world.fleet.members().count(), 3);
    assert_eq!(spawns(&world.dies(2, DONE)), [(5, 0)]);
}

#[test]
fn p58_a_stop_wins_in_every_phase() {
    let phases: [fn(&mut World); 5] = [
        |_| {},
        |world| drop(world.tell(Input::Online { id: Id(3) })),
        |world| drop(world.up(3)),
        |world| drop((world.up(3), world.up(4))),
        |world| drop((world.up(3), world.tell(Input::Reload))),
    ];
    for (number, phase) in phases.into_iter().enumerate() {
        for stop in [Input::Stop { signal: Some(Signal::TERM) }, Input::StopNow { signal: Signal::QUIT }] {
            let mut world = World::serving(2, 1);
            world.tell(Input::Reload);
            phase(&mut world);
            let (running, waits) = (number != 3, number == 4);
            let effects = world.tell(stop);
            let outcomes = outcomes(&effects);
            assert_eq!(outcomes.len(), usize::from(running) + usize::from(waits), "{number}: {effects:?}");
            assert!(outcomes.iter().all(|outcome| outcome.result() == Err(&ReloadFailure::Stopped)));
            assert!(spawns(&effects).is_empty());
            for id in 1..=5 {
                assert!(spawns(&world.dies(id, KILLED)).is_empty());
            }
            assert!(world.fleet.is_over(), "{number}");
            assert_eq!(outcomes_of(&mut world, Input::Reload), [Err(ReloadFailure::Stopped)]);
        }
    }
}

fn outcomes_of(world: &mut World, input: Input) -> Vec<Result<(), ReloadFailure>> {
    let effects = world.tell(input);
    outcomes(&effects).iter().map(|outcome| outcome.result().map_err(Clone::clone)).collect()
}

#[path = "reload_mishap_tests.rs"]
mod mishaps;
