//! Upgrades, without a process.

use super::super::slot::Life;
use super::super::step::{Event, Ids, Input, Rules};
use super::*;
use crate::event::{ExitStatus, Reason, Signal};
use crate::reload::Reload;

const SECOND: Duration = Duration::from_secs(1);
const CRASH: ExitStatus = ExitStatus::Code(42);
const KILLED: ExitStatus = ExitStatus::Signal(Signal::KILL);
const DONE: ExitStatus = ExitStatus::Code(0);

/// A fleet, and a clock of its own.
struct World {
    fleet: Fleet,
    now: Instant,
    /// Births are told of by the test; else they happen at once, as with fork.
    slow: bool,
    workers: usize,
}

fn rules() -> Rules {
    Rules::usual()
}

impl World {
    fn new(workers: usize) -> World {
        let fleet = Fleet::new(rules(), Ids::default());
        let mut world = World { fleet, now: Instant::now(), slow: false, workers };
        world.tell(Input::Start { workers });
        world
    }

    /// With all workers ready, and proven.
    fn serving(workers: usize) -> World {
        let mut world = World::new(workers);
        for id in 1..=workers as u64 {
            world.up(id);
            world.tell(Input::Proven { id: Id(id) });
        }
        world
    }

    fn tell(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = self.fleet.step(input, self.now);
        let mut at = 0;
        while at < effects.len() {
            let input = match effects[at] {
                Effect::Spawn { id, .. } if !self.slow => Some(Input::Born { id }),
                Effect::NotToBe { id } => Some(Input::Unborn { id }),
                _ => None,
            };
            if let Some(input) = input {
                effects.extend(self.fleet.step(input, self.now));
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

    /// Wanted, and found fit: the exec is due.
    fn checked(&mut self) {
        assert_eq!(self.tell(Input::Upgrade), [Effect::Check]);
        assert_eq!(self.tell(Input::Checked(Ok(()))), []);
        assert!(self.fleet.awaits_quiet());
    }

    /// Is another image from now on, of this many workers.
    fn becomes(&mut self, workers: usize, refused: Option<&str>) -> Vec<Effect> {
        let saved = self.fleet.save(self.now);
        let refused = refused.map(str::to_owned);
        self.fleet = Fleet::restore(&saved, rules(), Ids::default(), workers, refused, self.now).unwrap();
        self.tell(Input::Resume)
    }

    /// In the new image.
    fn upgraded(&mut self) -> Vec<Effect> {
        self.checked();
        assert_eq!(self.tell(Input::Quiet), [Effect::Exec]);
        self.becomes(self.workers, None)
    }

    /// In the old one, after it was told to go back.
    fn goes_back(&mut self) -> Vec<Effect> {
        assert!(self.fleet.awaits_quiet());
        let effects = self.tell(Input::Quiet);
        assert!(matches!(effects[..], [Effect::GoBack { .. }]), "{effects:?}");
        self.becomes(self.workers, None)
    }

    /// The next generation comes up, slot by slot, and the old one goes. Yields what happened last.
    fn rolls(&mut self, first: u64) -> Vec<Effect> {
        let mut effects = self.up(first);
        loop {
            for old in drains(&effects) {
                effects.extend(self.dies(old, DONE));
            }
            let next = effects.iter().find_map(|effect| match effect {
                Effect::Spawn { id, .. } => Some(id.0),
                _ => None,
            });
            match next {
                Some(next) => effects = self.up(next),
                None => return effects,
            }
        }
    }

    /// Who holds the slots: ids, with their generation.
    fn holders(&self) -> Vec<(u64, u64)> {
        let holder = |slot: &super::super::step::Slot| {
            let id = slot.holder?;
            Some((id.0, self.fleet.member(id)?.generation))
        };
        self.fleet.slots.iter().filter_map(holder).collect()
    }
}

fn drains(effects: &[Effect]) -> Vec<u64> {
    let drain = |effect: &Effect| match effect {
        Effect::Drain { id } => Some(id.0),
        _ => None,
    };
    effects.iter().filter_map(drain).collect()
}

fn spawns(effects: &[Effect]) -> Vec<(u64, usize, u64)> {
    let spawn = |effect: &Effect| match effect {
        Effect::Spawn { id, slot, generation } => Some((id.0, *slot, *generation)),
        _ => None,
    };
    effects.iter().filter_map(spawn).collect()
}

/// The only one there is.
fn outcome(effects: &[Effect]) -> &Upgrade {
    let outcomes: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Upgraded(outcome) => Some(outcome),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes.len(), 1, "{effects:?}");
    outcomes[0]
}

fn failed(effects: &[Effect]) -> &UpgradeFailure {
    outcome(effects).result().expect_err("a failure")
}

fn told(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Upgraded(_)))
}

#[test]
fn p87_one_at_a_time() {
    let mut world = World::serving(1);
    world.tell(Input::Upgrade);
    let busy = |world: &mut World, words: &str| {
        let effects = world.tell(Input::Upgrade);
        let why = failed(&effects);
        assert!(matches!(why, UpgradeFailure::Busy(why) if why.contains(words)), "{why}");
        assert_eq!(outcome(&effects).took(), Duration::ZERO);
        outcome(&effects).generation()
    };
    assert_eq!(busy(&mut world, "generation 2 is under way"), 3);
    world.tell(Input::Checked(Ok(())));
    assert_eq!(busy(&mut world, "generation 2 is under way"), 4);
    world.tell(Input::Quiet);
    let effects = world.becomes(1, None);
    assert_eq!(effects[0], Effect::Proving { generation: 2 });
    assert_eq!(busy(&mut world, "generation 2 is under way"), 5, "while it proves itself");
    let effects = world.rolls(2);
    assert_eq!((outcome(&effects).generation(), outcome(&effects).result()), (2, Ok(())));
    assert_eq!(world.tell(Input::Upgrade), [Effect::Check]);
}

#[test]
fn p88_not_before_anybody_was_ready() {
    let mut world = World::new(2);
    let effects = world.tell(Input::Upgrade);
    assert!(matches!(failed(&effects), UpgradeFailure::Busy(why) if why.contains("ready")), "{effects:?}");
    world.up(1);
    assert_eq!(world.tell(Input::Upgrade), [Effect::Check], "one of them is enough");
}

#[test]
fn a_reload_that_runs_and_whoever_is_left_of_it_is_waited_for() {
    let mut world = World::serving(1);
    world.tell(Input::Reload);
    assert_eq!(world.tell(Input::Upgrade), []);
    let effects = world.tell(Input::Upgrade);
    assert!(matches!(failed(&effects), UpgradeFailure::Busy(why) if why.contains("waiting")), "{effects:?}");
    let effects = world.up(2);
    assert_eq!(drains(&effects), [1]);
    assert!(!effects.contains(&Effect::Check), "the old one drains yet");
    assert!(world.dies(1, DONE).contains(&Effect::Check));
}

#[test]
fn wishes_are_granted_in_their_order() {
    let mut world = World::serving(1);
    world.tell(Input::Reload);
    world.tell(Input::Reload);
    world.tell(Input::Upgrade);
    world.up(2);
    // That which was wanted first.
    let effects = world.dies(1, DONE);
    assert!(effects.contains(&Effect::Reloading { generation: 3 }) && !effects.contains(&Effect::Check));
    world.tell(Input::Reload);
    world.up(3);
    let effects = world.dies(2, DONE);
    assert!(effects.contains(&Effect::Check), "and then the upgrade: {effects:?}");
    world.tell(Input::Checked(Ok(())));
    world.tell(Input::Quiet);
    world.becomes(1, None);
    world.up(4);
    let effects = world.dies(3, DONE);
    assert_eq!(outcome(&effects).result(), Ok(()));
    let at = |what: fn(&Effect) -> bool| effects.iter().position(what).expect("it to happen");
    let (upgraded, reloads) = (
        at(|e| matches!(e, Effect::Upgraded(_))),
        at(|e| matches!(e, Effect::Reloading { generation: 6 | 5 })),
    );
    assert!(upgraded < reloads, "the reload that was wanted meanwhile has waited: {effects:?}");
}

#[test]
fn p89_slot_by_slot_and_done_when_nobody_of_the_old_program_is_left() {
    let mut world = World::serving(2);
    let effects = world.upgraded();
    assert_eq!(effects[0], Effect::Proving { generation: 2 });
    assert_eq!(effects[1], Effect::Spawn { id: Id(3), slot: 0, generation: 2 });
    assert_eq!((world.fleet.generation(), world.fleet.reloading()), (2, Some(2)));
    assert_eq!(drains(&effects), [] as [u64; 0], "the old ones serve on");
    world.now += SECOND;
    let effects = world.up(3);
    assert_eq!((drains(&effects), spawns(&effects)), (vec![1], vec![(4, 1, 2)]));
    let effects = world.up(4);
    assert_eq!((drains(&effects), told(&effects)), (vec![2], false));
    assert!(!told(&world.dies(2, DONE)));
    world.now += SECOND;
    let effects = world.dies(1, DONE);
    let done = Upgrade { generation: 2, took: 2 * SECOND, failure: None };
    assert_eq!(effects.last(), Some(&Effect::Upgraded(done)), "the time goes on through the exec");
    assert_eq!(world.holders(), [(3, 2), (4, 2)]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Reloaded(_))), "it is no reload");
}

#[test]
fn who_dies_meanwhile_is_replaced_by_the_new_program() {
    let mut world = World::serving(2);
    world.upgraded();
    let effects = world.dies(2, KILLED);
    assert_eq!(spawns(&effects), [(4, 1, 2)]);
    world.up(3);
    world.dies(1, DONE);
    let effects = world.up(4);
    assert_eq!(outcome(&effects).result(), Ok(()));
    assert_eq!(world.holders(), [(3, 2), (4, 2)]);
}

#[test]
fn a_birth_that_is_under_way_is_waited_for_and_none_begins() {
    let mut world = World::serving(2);
    world.slow = true;
    let effects = world.dies(1, KILLED);
    assert_eq!(spawns(&effects), [(3, 0, 1)]);
    world.tell(Input::Upgrade);
    world.tell(Input::Checked(Ok(())));
    assert!(!world.fleet.awaits_quiet(), "worker 3 is being born");
    assert_eq!(world.tell(Input::Quiet), []);
    assert_eq!(spawns(&world.dies(2, KILLED)), [], "that may be the next image's to do");
    let forked = world.fleet.ids.next();
    assert_eq!(world.tell(Input::Fork { id: forked }), []);
    world.tell(Input::Born { id: Id(3) });
    assert!(world.fleet.awaits_quiet());
    assert_eq!(world.tell(Input::Quiet), [Effect::Exec]);
    let effects = world.becomes(2, None);
    // Born by the new image, they are of its generation; whoever else there is gets one beside it.
    assert_eq!(effects[0], Effect::Proving { generation: 2 });
    assert_eq!(spawns(&effects), [(4, 1, 2), (5, 2, 2), (6, 0, 2)]);
}

#[test]
fn more_workers_come_when_the_new_program_has_proved_itself() {
    let mut world = World::serving(1);
    world.checked();
    world.tell(Input::Quiet);
    let effects = world.becomes(3, None);
    assert_eq!(spawns(&effects), [(2, 0, 2)]);
    world.up(2);
    let effects = world.dies(1, DONE);
    assert_eq!(outcome(&effects).result(), Ok(()));
    assert_eq!(spawns(&effects), [(3, 1, 2), (4, 2, 2)]);
}

#[test]
fn fewer_workers_leave_from_the_highest_slots_on() {
    let mut world = World::serving(3);
    world.checked();
    world.tell(Input::Quiet);
    world.becomes(2, None);
    let effects = world.rolls(4);
    assert_eq!(outcome(&effects).result(), Ok(()));
    assert_eq!(drains(&effects).last(), Some(&6));
    assert_eq!(spawns(&world.dies(6, DONE)), []);
    assert_eq!(world.holders(), [(4, 2), (5, 2)]);
    assert_eq!(world.fleet.members().count(), 2);
}

#[test]
fn who_was_forked_beyond_the_settings_stays_where_these_have_not_changed() {
    let mut world = World::serving(1);
    let id = world.fleet.ids.next();
    world.tell(Input::Fork { id });
    world.up(2);
    world.upgraded();
    let effects = world.rolls(3);
    assert_eq!((outcome(&effects).result(), drains(&effects)), (Ok(()), vec![2]));
    assert_eq!(world.holders(), [(3, 2), (4, 2)]);
}

#[test]
fn what_was_counted_and_timed_goes_on() {
    let mut world = World::serving(2);
    // Unproven deaths, and a slot that is filled again later.
    world.dies(1, KILLED);
    world.dies(3, CRASH);
    let effects = world.dies(4, CRASH);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Throttled { .. })), "{effects:?}");
    let refill_at = world.fleet.slots[0].refill_at;
    assert!(refill_at.is_some());
    // And one that drains, and one that starts.
    world.tell(Input::Disconnect { id: Id(2) });
    let forked = world.fleet.ids.next();
    world.tell(Input::Fork { id: forked });
    let deadlines: Vec<_> = world.fleet.members().map(|(id, member)| (id, member.deadline())).collect();
    let (streak, deaths) = (world.fleet.slots[0].streak, world.fleet.deaths.at.clone());
    world.checked();
    world.tell(Input::Quiet);
    world.now += Duration::from_millis(1);
    let saved = world.fleet.save(world.now);
    let ids = Ids::default();
    let fleet = Fleet::restore(&saved, rules(), ids.clone(), 2, None, world.now).unwrap();
    assert_eq!(fleet.slots[0].refill_at, refill_at);
    assert_eq!((fleet.slots[0].streak, fleet.deaths.at.clone()), (streak, deaths));
    assert_eq!(fleet.members().map(|(id, member)| (id, member.deadline())).collect::<Vec<_>>(), deadlines);
    assert!(matches!(fleet.member(Id(2)).unwrap().life, Life::Draining { told: true, .. }));
    assert_eq!(ids.next(), Id(forked.0 + 1));
}

#[test]
fn who_died_in_the_moment_of_the_exec_has_its_events_in_the_new_image() {
    let mut world = World::serving(2);
    world.upgraded();
    let effects = world.dies(1, KILLED);
    assert_eq!(effects[0], Effect::Publish(Event::Disconnect(Id(1))));
    let exit = |effect: &Effect| match effect {
        Effect::Publish(Event::Exit(Id(1), exit)) => Some(exit.reason()),
        _ => None,
    };
    assert_eq!(effects.iter().find_map(exit), Some(Reason::Killed));
    assert_eq!(spawns(&effects), [(4, 0, 2)]);
}

#[path = "upgrade_mishap_tests.rs"]
mod mishaps;

/// Mutation: count the places at the end of a step only.
#[test]
fn who_leaves_in_the_last_moment_is_not_counted() {
    let mut world = World::serving(2);
    world.checked();
    world.tell(Input::Quiet);
    world.becomes(1, None);
    world.tell(Input::Scale { workers: 3 });
    for (old, new) in [(1, 3), (2, 5)] {
        world.up(new);
        world.dies(old, DONE);
    }
    // Worker 4 is all that is waited for.
    let effects = world.tell(Input::Disconnect { id: Id(4) });
    assert!(effects.contains(&Effect::Scaled { from: 2, to: 1 }), "{effects:?}");
    assert_eq!((drains(&effects), world.fleet.target()), (vec![4, 5], 1));
}
