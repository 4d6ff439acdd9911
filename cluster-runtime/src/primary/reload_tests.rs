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
        let rules = Rules {
            restart: Restart::Always,
            max_restarts: 5,
            restart_window: 60 * SECOND,
            startup_timeout: 10 * SECOND,
            drain_timeout: 5 * SECOND,
            max_surge: surge,
        };
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

#[test]
fn an_old_one_that_dies_meanwhile_is_respawned_as_ever_and_replaced_in_its_turn() {
    let mut world = World::serving(2, 1);
    world.tell(Input::Reload);
    assert_eq!(spawns(&world.dies(1, KILLED)), [(4, 0)], "its own replacement may never be ready");
    assert_eq!(spawns(&world.dies(2, KILLED)), [(5, 1)]);
    assert_eq!(world.holders(), [(4, 1), (5, 1)]);
    let effects = world.up(3);
    assert_eq!((drains(&effects), spawns(&effects)), (vec![4], vec![(6, 1)]));
    let effects = world.up(6);
    assert_eq!((drains(&effects), outcomes(&effects).len()), (vec![5], 1));
    assert_eq!(world.holders(), [(3, 2), (6, 2)]);
}

#[test]
fn a_throttled_slot_is_filled_by_the_new_generation_and_by_nobody_else() {
    let mut world = World::serving(2, 1);
    world.dies(1, CRASH);
    world.dies(3, CRASH);
    let throttled = world.dies(4, CRASH);
    assert!(matches!(throttled.last(), Some(Effect::Throttled { slot: 0, .. })), "{throttled:?}");
    assert_eq!(spawns(&world.tell(Input::Reload)), [(5, 0)]);
    let effects = world.up(5);
    assert_eq!((drains(&effects), spawns(&effects)), (vec![], vec![(6, 1)]));
    world.up(6);
    assert!(spawns(&world.after(100 * SECOND)).is_empty(), "the delayed birth is not to be any more");
    assert_eq!(world.holders(), [(5, 2), (6, 2)]);
}

#[test]
fn a_throttled_slot_stays_so_if_the_reload_fails() {
    let mut world = World::serving(2, 1);
    world.dies(1, CRASH);
    world.dies(3, CRASH);
    world.dies(4, CRASH);
    world.tell(Input::Reload);
    world.dies(5, CRASH);
    assert_eq!(spawns(&world.after(SECOND)), [(6, 0)]);
    assert_eq!(world.holders(), [(6, 1), (2, 1)]);
}

#[test]
fn who_was_told_to_leave_is_not_replaced_and_a_replacement_that_is_under_way_leaves_too() {
    let mut world = World::serving(2, 1);
    world.tell(Input::Disconnect { id: Id(2) });
    world.tell(Input::Reload);
    world.tell(Input::Disconnect { id: Id(1) });
    let effects = world.up(3);
    assert_eq!(drains(&effects), [3]);
    assert!(outcomes(&effects)[0].result().is_ok());
    for id in 1..=3 {
        assert!(spawns(&world.dies(id, DONE)).is_empty());
    }
    assert_eq!(world.fleet.end(), Some(Ok(())));
}

#[test]
fn who_is_forked_meanwhile_is_replaced_in_its_turn() {
    let mut world = World::serving(1, 1);
    world.tell(Input::Reload);
    let id = world.fleet.ids.next();
    assert_eq!(spawns(&world.tell(Input::Fork { id })), [(3, 1)]);
    assert_eq!(spawns(&world.up(2)), [(4, 1)]);
    assert_eq!(outcomes(&world.up(4)).len(), 1);
    assert_eq!(world.holders(), [(2, 2), (4, 2)]);
}

#[test]
fn a_replacement_that_is_disconnected_or_terminated_or_cut_off_ends_it() {
    for input in [
        Input::Disconnect { id: Id(2) },
        Input::Leave { id: Id(2), voluntary: true },
        Input::Leave { id: Id(2), voluntary: false },
        Input::Kill { id: Id(2), signal: Signal::TERM },
        Input::Closed { id: Id(2) },
    ] {
        let mut world = World::serving(1, 1);
        world.tell(Input::Reload);
        world.tell(input);
        assert!(drains(&world.up(2)).is_empty(), "it takes nobody's place");
        assert!(matches!(failed(&world.dies(2, DONE)), ReloadFailure::Worker { id: 2, .. }));
        assert_eq!(world.holders(), [(1, 1)]);
    }
}

#[test]
fn a_birth_that_fails_ends_it() {
    let mut world = World::serving(1, 1);
    let effects = world.fleet.step(Input::Reload, world.now);
    assert_eq!(spawns(&effects), [(2, 0)]);
    let effects = world.fleet.step(Input::Unborn { id: Id(2) }, world.now);
    assert!(matches!(failed(&effects), ReloadFailure::Worker { id: 2, .. }));
    assert_eq!(effects.len(), 1, "nobody heard of it before: {effects:?}");
}

#[test]
fn a_preload_that_fails_ends_it_and_who_waited_for_it_is_not_to_be() {
    let mut world = World::serving(2, 1);
    assert_eq!(spawns(&world.fleet.step(Input::Reload, world.now)), [(3, 0)]);
    assert_eq!(world.fleet.step(Input::Barren { generation: 1, why: String::new() }, world.now), []);
    let effects = world.fleet.step(Input::Barren { generation: 2, why: "said so".into() }, world.now);
    assert_eq!(failed(&effects), &ReloadFailure::Preload("said so".into()));
    assert!(matches!(world.fleet.member(Id(3)).map(|member| member.life), Some(Life::Draining { .. })));
    assert_eq!(world.fleet.step(Input::Unborn { id: Id(3) }, world.now), []);
    assert_eq!(world.holders(), [(1, 1), (2, 1)]);
}

#[test]
fn a_failed_reload_does_not_end_a_cluster_that_never_respawns() {
    let mut world = World::serving(1, 1);
    world.fleet.rules.restart = Restart::Never;
    world.tell(Input::Reload);
    world.dies(2, CRASH);
    world.tell(Input::Stop { signal: None });
    world.dies(1, DONE);
    assert_eq!(world.fleet.end(), Some(Ok(())));
}

#[test]
fn giving_up_ends_a_reload_as_any_stop_does() {
    let mut world = World::serving(2, 1);
    world.fleet.rules.max_restarts = 0;
    world.dies(1, KILLED);
    world.tell(Input::Reload);
    let effects = world.dies(3, CRASH);
    assert_eq!(failed(&effects), &ReloadFailure::Stopped, "{effects:?}");
    assert!(world.fleet.is_stopping());
    for id in 2..=4 {
        world.dies(id, DONE);
    }
    assert!(matches!(world.fleet.end(), Some(Err(Failure::GaveUp { .. }))));
}

#[test]
fn a_reload_of_nobody_is_done_at_once() {
    let mut world = World::serving(1, 1);
    world.tell(Input::Disconnect { id: Id(1) });
    assert!(outcomes(&world.tell(Input::Reload))[0].result().is_ok());
}

#[test]
fn who_is_forked_meanwhile_does_not_get_the_place_that_another_is_to_take() {
    let mut world = World::serving(1, 1);
    world.tell(Input::Reload);
    world.tell(Input::Disconnect { id: Id(1) });
    world.dies(1, DONE);
    let forked = world.fleet.ids.next();
    let effects = world.tell(Input::Fork { id: forked });
    assert!(effects.contains(&Effect::Spawn { id: forked, slot: 1, generation: 1 }), "{effects:?}");
}

#[test]
fn a_stop_at_once_is_told_as_one_though_somebody_has_left_badly() {
    let mut world = World::serving(2, 1);
    world.fleet.rules.restart = Restart::Never;
    world.dies(1, CRASH);
    world.tell(Input::StopNow { signal: Signal::QUIT });
    world.dies(2, KILLED);
    assert_eq!(world.fleet.end(), Some(Err(&Failure::Stopped { signal: Signal::QUIT })));
}

#[test]
fn a_reload_is_not_done_before_the_successor_of_a_new_one_that_was_killed_is_ready() {
    let mut world = World::serving(2, 1);
    world.tell(Input::Reload);
    world.up(3);
    world.dies(3, KILLED);
    world.up(4);
    assert_eq!(world.fleet.reloading(), Some(2), "5 is of the new generation, and not ready");
    let effects = world.dies(5, CRASH);
    let ended = effects.iter().find_map(|effect| match effect {
        Effect::Reloaded(reload) => Some(reload.result().is_err()),
        _ => None,
    });
    assert_eq!(ended, Some(true), "{effects:?}");
}
