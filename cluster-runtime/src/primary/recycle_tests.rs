//! Worn workers, without a process.

use super::super::slot::Id;
use super::super::step::{Event, Ids, Input, Rules};
use super::*;
use crate::event::{ExitStatus, Reason, Signal};

const SECOND: Duration = Duration::from_secs(1);
const CRASH: ExitStatus = ExitStatus::Code(42);
const DONE: ExitStatus = ExitStatus::Code(0);
const ENOUGH: Wear = Wear::Requests(100);

/// A fleet, and a clock of its own.
struct World {
    fleet: Fleet,
    now: Instant,
}

impl World {
    /// With all workers ready for long.
    fn serving(workers: usize, change: impl FnOnce(&mut Rules)) -> World {
        let mut rules = Rules { max_restarts: 1, restart_window: 600 * SECOND, ..Rules::usual() };
        change(&mut rules);
        let mut world = World { fleet: Fleet::new(rules, Ids::default()), now: Instant::now() };
        world.tell(Input::Start { workers });
        (1..=workers as u64).for_each(|id| drop(world.up(id)));
        world.after(5 * SECOND);
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

    fn worn(&mut self, id: u64) -> Vec<Effect> {
        self.tell(Input::Worn { id: Id(id), why: ENOUGH })
    }

    fn up(&mut self, id: u64) -> Vec<Effect> {
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

    fn holders(&self) -> Vec<u64> {
        self.fleet.slots.iter().filter_map(|slot| slot.holder).map(|id| id.0).collect()
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

fn delay(effects: &[Effect]) -> Option<Duration> {
    effects.iter().find_map(|effect| match effect {
        Effect::NotRecycled { delay, .. } => Some(*delay),
        _ => None,
    })
}

#[test]
fn the_new_one_is_ready_before_the_old_one_drains() {
    let mut world = World::serving(2, |_| {});
    let effects = world.worn(2);
    assert_eq!(effects[0], Effect::Recycling { id: Id(2), by: Id(3), why: ENOUGH });
    assert_eq!(effects[1], Effect::Spawn { id: Id(3), slot: 1, generation: 1 });
    assert!(drains(&effects).is_empty() && world.holders() == [1, 2], "it serves on");
    assert_eq!(drains(&world.up(3)), [2]);
    assert_eq!(world.holders(), [1, 3]);
    let effects = world.dies(2, DONE);
    let Some(Effect::Publish(Event::Exit(_, exit))) = effects.last() else { panic!("{effects:?}") };
    assert_eq!((exit.reason(), exit.exited_after_disconnect()), (Reason::Replaced, true));
    assert!(spawns(&effects).is_empty());
}

#[test]
fn they_wait_their_turn_in_the_order_in_which_they_were_worn() {
    let mut world = World::serving(4, |rules| rules.max_surge = 2);
    assert_eq!(spawns(&world.worn(3)), [(5, 2)]);
    world.now += SECOND;
    assert_eq!(spawns(&world.worn(4)), [(6, 3)]);
    world.now += SECOND;
    assert!(spawns(&world.worn(2)).is_empty());
    world.now += SECOND;
    assert!(spawns(&world.worn(1)).is_empty());
    assert_eq!(spawns(&world.up(6)), [(7, 1)], "who has drained is not waited for");
    assert_eq!(spawns(&world.up(5)), [(8, 0)]);
}

#[test]
fn one_that_does_not_come_up_is_tried_again_later_and_later_and_never_gives_up_the_cluster() {
    let mut world = World::serving(2, |_| {});
    let mut effects = world.worn(1);
    let mut last = Duration::ZERO;
    for attempt in 0..12 {
        let [(id, 0)] = spawns(&effects)[..] else { panic!("{attempt}: {effects:?}") };
        effects = world.dies(id, CRASH);
        let delay = delay(&effects).expect("to be told");
        assert!(attempt == 0 || attempt > 7 || delay > last, "{attempt}: {delay:?} after {last:?}");
        assert_eq!(world.holders(), [1, 2]);
        if !delay.is_zero() {
            assert!(spawns(&effects).is_empty());
            assert_eq!(world.fleet.deadline(), Some(world.now + delay));
            assert!(spawns(&world.after(delay / 2)).is_empty());
            effects = world.after(delay / 2 + Duration::from_nanos(1));
        }
        last = delay;
    }
    assert!(!world.fleet.is_stopping(), "nobody was missing");
    let [(id, 0)] = spawns(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(drains(&world.up(id)), [1]);
}

#[test]
fn one_that_fails_does_not_hold_up_the_others() {
    let mut world = World::serving(2, |_| {});
    world.worn(1);
    assert!(spawns(&world.worn(2)).is_empty());
    assert_eq!(spawns(&world.dies(3, CRASH)), [(4, 0)], "once more at once");
    assert_eq!(spawns(&world.dies(4, CRASH)), [(5, 1)], "now the other's turn");
}

#[test]
fn one_that_is_never_ready_is_killed_in_its_time_and_the_old_one_serves_on() {
    let mut world = World::serving(1, |_| {});
    world.worn(1);
    assert!(world.after(10 * SECOND).contains(&Effect::Signal { id: Id(2), signal: Signal::KILL }));
    assert_eq!(spawns(&world.dies(2, ExitStatus::Signal(Signal::KILL))), [(3, 0)]);
    assert_eq!(world.holders(), [1]);
}

#[test]
fn a_worker_that_lies_is_replaced_once_a_second_at_most_and_not_while_the_last_one_drains() {
    let mut world = World::serving(1, |_| {});
    world.worn(1);
    world.up(2);
    assert!(spawns(&world.worn(2)).is_empty(), "it has hardly begun");
    assert_eq!(world.fleet.deadline(), Some(world.now + LEAST));
    assert!(spawns(&world.after(LEAST)).is_empty(), "the one before it drains");
    assert_eq!(spawns(&world.dies(1, DONE)), [(3, 0)]);
    // Said by one that is not ready, and said again.
    world.worn(3);
    world.worn(3);
    world.up(3);
    world.dies(2, DONE);
    assert_eq!(spawns(&world.after(LEAST)), [(4, 0)]);
}

#[test]
fn age_counts_from_birth_a_tenth_more_or_less() {
    let mut world = World::serving(3, |rules| rules.max_age = Some(100 * SECOND));
    let born: Vec<_> = world.fleet.members().map(|(id, member)| (id, member.born)).collect();
    let mut replaced = Vec::new();
    while replaced.len() < 3 {
        let at = world.fleet.deadline().expect("somebody gets old");
        world.now = at;
        for effect in world.tell(Input::Tick) {
            let Effect::Recycling { id, by, why: Wear::Age(_) } = effect else { continue };
            let age = world.now - born[id.0 as usize - 1].1;
            assert!((90 * SECOND..=110 * SECOND).contains(&age), "{id:?}: {age:?}");
            replaced.push(age);
            world.up(by.0);
            world.dies(id.0, DONE);
        }
    }
    replaced.dedup();
    assert_eq!(replaced.len(), 3, "each at its own time");
}

#[test]
fn none_while_a_reload_runs_or_waits_and_a_reload_makes_everybody_new() {
    let mut world = World::serving(2, |_| {});
    world.worn(1);
    assert!(
        spawns(&world.tell(Input::Reload)).is_empty(),
        "a reload waits for who is coming, and who drains"
    );
    assert!(spawns(&world.worn(2)).is_empty(), "its turn does not come before that of a reload");
    world.up(3);
    assert_eq!(spawns(&world.dies(1, DONE)), [(4, 0)], "the reload's");
    assert_eq!(spawns(&world.up(4)), [(5, 1)]);
    assert!(spawns(&world.up(5)).is_empty(), "who was worn is not there any more");
    world.dies(2, DONE);
    world.dies(3, DONE);
    assert!(spawns(&world.after(10 * SECOND)).is_empty());
    assert_eq!(world.holders(), [4, 5]);
}

#[test]
fn after_a_reload_that_failed_they_are_replaced_by_the_generation_in_force() {
    let mut world = World::serving(2, |_| {});
    world.tell(Input::Reload);
    world.worn(2);
    let effects = world.dies(3, CRASH);
    assert_eq!(effects.last(), Some(&Effect::Publish(Event::Fork(Id(4)))));
    assert!(effects.contains(&Effect::Spawn { id: Id(4), slot: 1, generation: 1 }), "{effects:?}");
}

#[test]
fn who_is_asked_to_leave_meanwhile_is_not_replaced() {
    let mut world = World::serving(2, |_| {});
    world.worn(1);
    world.tell(Input::Disconnect { id: Id(1) });
    assert_eq!(drains(&world.up(3)), [3], "whoever asked wants one less");
    world.dies(1, DONE);
    world.dies(3, DONE);
    assert_eq!(world.holders(), [2]);
}

#[test]
fn one_that_dies_meanwhile_is_respawned_as_ever_and_the_one_that_is_coming_takes_over() {
    let mut world = World::serving(1, |_| {});
    world.worn(1);
    assert_eq!(spawns(&world.dies(1, CRASH)), [(3, 0)]);
    assert_eq!(drains(&world.up(2)), [3]);
    assert!(spawns(&world.dies(3, DONE)).is_empty());
    assert_eq!(world.holders(), [2]);
}

#[test]
fn a_stop_wins() {
    for stop in [Input::Stop { signal: None }, Input::StopNow { signal: Signal::QUIT }] {
        let mut world = World::serving(2, |_| {});
        world.worn(1);
        world.worn(2);
        assert!(spawns(&world.tell(stop)).is_empty());
        for id in 1..=3 {
            assert!(spawns(&world.dies(id, CRASH)).is_empty());
        }
        assert!(world.fleet.is_over());
    }
}

/// Mutation: forget who is coming, and tell it nothing.
#[test]
fn nobody_comes_beside_another_in_the_time_before_the_drain() {
    let mut world = World::serving(2, |rules| rules.pre_drain = 10 * SECOND);
    assert_eq!(spawns(&world.worn(1)), [(3, 0)]);
    let effects = world.tell(Input::Stop { signal: Some(Signal::TERM) });
    assert_eq!(drains(&effects), [3]);
    assert_eq!(spawns(&world.dies(3, DONE)), []);
    assert_eq!(world.holders(), [1, 2]);
}
