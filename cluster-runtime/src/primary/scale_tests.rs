//! How many, without a process.

use std::time::Duration;

use super::super::step::{Ids, Input, Rules};
use super::*;
use crate::event::ExitStatus;
use crate::ipc::message::Wear;

const SECOND: Duration = Duration::from_secs(1);
const DONE: ExitStatus = ExitStatus::Code(0);
const CRASH: ExitStatus = ExitStatus::Code(42);

struct World {
    fleet: Fleet,
    now: Instant,
}

impl World {
    fn serving(workers: usize) -> World {
        let rules = Rules::usual();
        let mut world = World { fleet: Fleet::new(rules, Ids::default()), now: Instant::now() };
        world.tell(Input::Start { workers });
        (1..=workers as u64).for_each(|id| drop(world.up(id)));
        world.now += 5 * SECOND;
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

    fn up(&mut self, id: u64) -> Vec<Effect> {
        self.tell(Input::Ready { id: Id(id) })
    }

    fn dies(&mut self, id: u64, status: ExitStatus) -> Vec<Effect> {
        let mut effects = self.tell(Input::Closed { id: Id(id) });
        effects.extend(self.tell(Input::Exited { id: Id(id), status }));
        effects
    }

    fn scale(&mut self, workers: usize) -> Vec<Effect> {
        let effects = self.tell(Input::Scale { workers });
        assert_eq!(self.fleet.target(), workers);
        effects
    }

    fn fork(&mut self) -> Vec<Effect> {
        let id = self.fleet.ids.next();
        self.tell(Input::Fork { id })
    }

    /// The places that are filled: slots, with their holders.
    fn places(&self) -> Vec<(usize, u64)> {
        let filled = (0..self.fleet.slots.len()).filter(|slot| self.fleet.is_filled(*slot));
        filled.map(|slot| (slot, self.fleet.slots[slot].holder.map_or(0, |id| id.0))).collect()
    }
}

/// Ids with slots and generations.
fn spawns(effects: &[Effect]) -> Vec<(u64, usize, u64)> {
    let spawn = |effect: &Effect| match effect {
        Effect::Spawn { id, slot, generation } => Some((id.0, *slot, *generation)),
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

#[test]
fn p17_down_and_up_again_fills_each_slot_once_though_the_former_ones_drain() {
    let mut world = World::serving(4);
    assert_eq!(drains(&world.scale(2)), [4, 3], "the highest go first");
    assert_eq!(spawns(&world.scale(4)), [(5, 2, 1), (6, 3, 1)]);
    assert_eq!(world.places(), [(0, 1), (1, 2), (2, 5), (3, 6)]);
    assert_eq!(world.fleet.members().count(), 6, "two of them on their way out");
    for id in [3, 4] {
        assert!(spawns(&world.dies(id, DONE)).is_empty());
    }
    assert_eq!(world.places(), [(0, 1), (1, 2), (2, 5), (3, 6)]);
}

#[test]
fn p123_to_as_many_as_there_are_is_told_and_nothing_else() {
    let mut world = World::serving(3);
    assert_eq!(world.tell(Input::Scale { workers: 3 }), [Effect::Scaled { from: 3, to: 3 }]);
    assert!(world.tell(Input::Scale { workers: 0 }).is_empty());
    assert_eq!(world.fleet.target(), 3);
}

#[test]
fn by_hand_makes_one_more_or_one_less() {
    let mut world = World::serving(3);
    assert_eq!(spawns(&world.fork()), [(4, 3, 1)]);
    assert_eq!(world.fleet.target(), 4);
    world.tell(Input::Disconnect { id: Id(1) });
    assert_eq!(world.fleet.target(), 3, "nobody takes its place");
    assert_eq!(spawns(&world.fork()), [(5, 4, 1)], "by hand, to where nobody is");
    world.tell(Input::Disconnect { id: Id(5) });
    assert_eq!(spawns(&world.scale(4)), [(6, 0, 1)], "one more than three, in the lowest vacant slot");
    assert_eq!(drains(&world.scale(3)), [4]);
    assert_eq!(world.places(), [(0, 6), (1, 2), (2, 3)]);
}

#[test]
fn who_dies_is_replaced_and_who_waits_to_be_counts() {
    let mut world = World::serving(2);
    world.dies(2, CRASH);
    world.dies(3, CRASH);
    let effects = world.dies(4, CRASH);
    assert!(matches!(effects.last(), Some(Effect::Throttled { slot: 1, .. })), "{effects:?}");
    assert_eq!(world.fleet.target(), 2);
    assert!(spawns(&world.scale(1)).is_empty());
    assert!(spawns(&world.tell(Input::Tick)).is_empty());
    world.now += 100 * SECOND;
    assert!(spawns(&world.tell(Input::Tick)).is_empty(), "its place was given up");
    assert_eq!(world.places(), [(0, 1)]);
}

#[test]
fn up_in_a_reload_is_of_the_generation_that_is_made_and_waited_for() {
    let mut world = World::serving(1);
    world.tell(Input::Reload);
    assert_eq!(spawns(&world.scale(2)), [(3, 1, 2)]);
    let effects = world.up(2);
    assert!(spawns(&effects).is_empty() && world.fleet.reloading().is_some(), "it is new, and not ready");
    let effects = world.up(3);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Reloaded(told) if told.result().is_ok())));
    assert_eq!(world.places(), [(0, 2), (1, 3)]);
}

#[test]
fn down_in_a_reload_takes_those_along_who_are_coming() {
    let mut world = World::serving(3);
    world.tell(Input::Reload);
    world.up(4);
    world.up(5);
    assert_eq!(world.fleet.reloads.coming.len(), 1, "6 comes to slot 2");
    let effects = world.scale(2);
    assert_eq!(drains(&effects), [3, 6]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Reloaded(told) if told.result().is_ok())));
    assert!(
        world.dies(6, CRASH).iter().all(|effect| !matches!(effect, Effect::Reloaded(_))),
        "not its failure"
    );
    assert_eq!(world.places(), [(0, 4), (1, 5)]);
}

#[test]
fn down_takes_the_replacement_of_one_that_is_worn_along() {
    let mut world = World::serving(2);
    let effects = world.tell(Input::Worn { id: Id(2), why: Wear::Memory(1) });
    assert_eq!(spawns(&effects), [(3, 1, 1)]);
    assert_eq!(drains(&world.scale(1)), [2, 3]);
    world.dies(2, DONE);
    assert!(world.dies(3, CRASH).iter().all(|effect| !matches!(effect, Effect::NotRecycled { .. })));
    assert_eq!(world.places(), [(0, 1)]);
}

#[test]
fn a_scaled_count_survives_a_reload_and_a_stop_wins() {
    let mut world = World::serving(2);
    world.scale(3);
    world.up(3);
    world.tell(Input::Reload);
    (4..=6).for_each(|id| drop(world.up(id)));
    assert_eq!(world.places(), [(0, 4), (1, 5), (2, 6)]);
    world.tell(Input::Stop { signal: None });
    assert!(world.tell(Input::Scale { workers: 9 }).is_empty());
}
