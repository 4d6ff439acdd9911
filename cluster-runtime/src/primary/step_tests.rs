//! The fleet's policy, without a process.

use super::super::leave::LAST_GRACE;
use super::*;
use crate::event::{Reason, State};

const SECOND: Duration = Duration::from_secs(1);

impl Rules {
    /// What tests begin with.
    pub(crate) fn usual() -> Rules {
        Rules {
            restart: Restart::Always,
            max_restarts: 5,
            restart_window: 60 * SECOND,
            startup_timeout: 10 * SECOND,
            drain_timeout: 5 * SECOND,
            pre_drain: Duration::ZERO,
            heartbeat: None,
            max_surge: 1,
            max_age: None,
        }
    }
}

/// A fleet and a clock of its own.
struct World {
    fleet: Fleet,
    now: Instant,
}

impl World {
    fn new(workers: usize, change: impl FnOnce(&mut Rules)) -> World {
        let mut rules = Rules { max_restarts: 3, ..Rules::usual() };
        change(&mut rules);
        let mut world = World { fleet: Fleet::new(rules, Ids::default()), now: Instant::now() };
        world.tell(Input::Start { workers });
        world
    }

    /// With all workers ready.
    fn serving(workers: usize) -> World {
        let mut world = World::new(workers, |_| {});
        for id in 1..=workers as u64 {
            world.up(id);
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

    fn up(&mut self, id: u64) {
        self.tell(Input::Online { id: Id(id) });
        self.tell(Input::Ready { id: Id(id) });
    }

    fn dies(&mut self, id: u64, status: ExitStatus) -> Vec<Effect> {
        let mut effects = self.tell(Input::Closed { id: Id(id) });
        effects.retain(|effect| !matches!(effect, Effect::Drain { .. }));
        effects.extend(self.tell(Input::Exited { id: Id(id), status }));
        effects
    }

    fn after(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.tell(Input::Tick)
    }

    fn alive(&self) -> Vec<u64> {
        self.fleet.members().map(|(id, _)| id.0).collect()
    }

    fn state(&self, id: u64) -> State {
        self.fleet.member(Id(id)).map_or(State::Dead, Member::state)
    }

    fn slots(&self) -> Vec<usize> {
        let mut slots: Vec<_> = self.fleet.members().map(|(_, member)| member.slot).collect();
        slots.sort();
        slots
    }
}

const CRASH: ExitStatus = ExitStatus::Code(42);
const KILLED: ExitStatus = ExitStatus::Signal(Signal::KILL);
const DONE: ExitStatus = ExitStatus::Code(0);

fn spawns(effects: &[Effect]) -> Vec<(u64, usize)> {
    let spawn = |effect: &Effect| match effect {
        Effect::Spawn { id, slot, .. } => Some((id.0, *slot)),
        _ => None,
    };
    effects.iter().filter_map(spawn).collect()
}

fn signals(effects: &[Effect], wanted: Signal) -> usize {
    effects.iter().filter(|e| matches!(e, Effect::Signal { signal, .. } if *signal == wanted)).count()
}

#[test]
fn n03_events_come_in_their_order() {
    let mut world = World::new(1, |_| {});
    let mut told = world.tell(Input::Online { id: Id(1) });
    world.tell(Input::Ready { id: Id(1) });
    assert_eq!(world.state(1), State::Listening);
    told.extend(world.dies(1, CRASH));
    let told: Vec<_> = told.into_iter().filter(|effect| matches!(effect, Effect::Publish(_))).collect();
    let Effect::Publish(Event::Exit(_, exit)) = &told[2] else { panic!("{told:?}") };
    assert_eq!((exit.code(), exit.reason()), (Some(42), Reason::Failed));
    assert_eq!(told[0], Effect::Publish(Event::Online(Id(1))));
    assert_eq!(told[1], Effect::Publish(Event::Disconnect(Id(1))));
    assert_eq!(told[3], Effect::Publish(Event::Fork(Id(2))));
    assert_eq!(world.state(1), State::Dead);
}

#[test]
fn p01_a_killed_worker_is_replaced_at_once_in_its_slot() {
    let mut world = World::serving(3);
    assert_eq!(spawns(&world.dies(2, KILLED)), [(4, 1)]);
    assert_eq!(world.slots(), [0, 1, 2]);
}

#[test]
fn p18_slots_stay_below_the_count_over_fifty_deaths() {
    let mut world = World::serving(4);
    for round in 0..50 {
        let victim = world.alive()[round % 4];
        let born = spawns(&world.dies(victim, KILLED));
        world.up(born[0].0);
        assert_eq!(world.slots(), [0, 1, 2, 3]);
    }
}

#[test]
fn p03_a_first_generation_that_cannot_boot_ends_the_program() {
    let mut world = World::new(3, |_| {});
    let effects = world.dies(2, ExitStatus::Code(7));
    assert_eq!(signals(&effects, Signal::KILL), 2);
    assert!(spawns(&effects).is_empty());
    world.dies(1, KILLED);
    world.dies(3, KILLED);
    let Some(Err(Failure::NotStarted { id, exit })) = world.fleet.end() else { panic!() };
    assert_eq!((*id, exit.program_status()), (Id(2), 7));
}

#[test]
fn once_somebody_was_ready_an_end_is_the_workers_own() {
    let mut world = World::new(2, |_| {});
    world.up(1);
    assert_eq!(spawns(&world.dies(2, CRASH)), [(3, 1)]);
}

#[test]
fn p12_a_crash_loop_is_throttled_and_service_ends_the_throttle() {
    let mut world = World::serving(2);
    assert_eq!(spawns(&world.dies(2, CRASH)), [(3, 1)], "the first at once");
    let effects = world.dies(3, CRASH);
    assert!(spawns(&effects).is_empty());
    assert!(matches!(effects.last(), Some(Effect::Throttled { slot: 1, .. })), "{effects:?}");
    assert!(spawns(&world.after(Duration::from_millis(70))).is_empty());
    assert_eq!(spawns(&world.after(SECOND)), [(4, 1)]);
    world.up(4);
    world.tell(Input::Proven { id: Id(4) });
    assert_eq!(spawns(&world.dies(4, CRASH)), [(5, 1)], "it had served");
}

#[test]
fn p07_one_death_more_than_allowed_gives_up() {
    let mut world = World::serving(2);
    let mut births = 0;
    for _ in 0..100 {
        let Some(id) = world.alive().into_iter().find(|id| *id != 1) else {
            births += spawns(&world.after(20 * SECOND / 10)).len();
            continue;
        };
        if world.fleet.is_stopping() {
            break;
        }
        births += spawns(&world.dies(id, CRASH)).len();
    }
    assert_eq!(births, 3);
    assert!(world.fleet.is_stopping());
    world.dies(1, DONE);
    assert!(matches!(world.fleet.end(), Some(Err(Failure::GaveUp { deaths: 4, .. }))));
}

#[test]
fn g4_being_killed_from_outside_is_never_held_against_a_worker() {
    let mut world = World::serving(2);
    for round in 0..200 {
        let born = spawns(&world.dies(round + 1, KILLED));
        assert_eq!(born.len(), 1);
        world.up(born[0].0);
    }
    assert!(!world.fleet.is_stopping());
}

#[test]
fn five_steady_seconds_prove_a_worker_that_serves_nobody() {
    let mut world = World::serving(1);
    for id in 1..20 {
        world.after(5 * SECOND);
        assert_eq!(spawns(&world.dies(id, CRASH)).len(), 1);
        world.up(id + 1);
    }
}

#[test]
fn who_is_not_ready_in_time_is_killed_and_counted() {
    let mut world = World::serving(2);
    world.dies(2, KILLED);
    assert_eq!(world.fleet.deadline(), Some(world.now + 10 * SECOND));
    assert_eq!(signals(&world.after(10 * SECOND), Signal::KILL), 1);
    let effects = world.dies(3, KILLED);
    let exit = effects.iter().find_map(|effect| match effect {
        Effect::Publish(Event::Exit(_, exit)) => Some(exit.reason()),
        _ => None,
    });
    assert_eq!(exit, Some(Reason::TimedOut));
}

#[test]
fn p57_a_stop_drains_all_and_a_second_one_kills() {
    let mut world = World::serving(2);
    let effects = world.tell(Input::Stop { signal: Some(Signal::TERM) });
    assert_eq!(effects, [Effect::StopListening, Effect::Drain { id: Id(1) }, Effect::Drain { id: Id(2) }]);
    assert_eq!(world.dies(1, DONE).len(), 2);
    assert_eq!(world.fleet.end(), None);
    let effects = world.tell(Input::Stop { signal: Some(Signal::INT) });
    assert_eq!(effects, [Effect::Signal { id: Id(2), signal: Signal::KILL }]);
    world.dies(2, KILLED);
    assert_eq!(world.fleet.end(), Some(Err(&Failure::Stopped { signal: Signal::INT })));
}

#[test]
fn p45_a_drain_has_an_end() {
    let mut world = World::serving(1);
    world.tell(Input::Stop { signal: None });
    assert_eq!(signals(&world.after(5 * SECOND), Signal::KILL), 0, "the worker ends its drain itself");
    assert_eq!(signals(&world.after(LAST_GRACE), Signal::KILL), 1);
    world.dies(1, KILLED);
    assert_eq!(world.fleet.end(), Some(Ok(())), "it was asked to stop, and it did");
}

#[test]
fn stop_wins_over_a_throttled_slot_and_a_fork() {
    let mut world = World::serving(2);
    world.dies(2, CRASH);
    world.dies(3, CRASH);
    world.tell(Input::Stop { signal: Some(Signal::TERM) });
    assert!(world.after(100 * SECOND).iter().all(|effect| !matches!(effect, Effect::Spawn { .. })));
    assert!(world.tell(Input::Fork { id: Id(99) }).is_empty());
    world.dies(1, DONE);
    assert_eq!(world.fleet.end(), Some(Ok(())));
}

#[test]
fn who_leaves_voluntarily_is_not_replaced_and_its_slot_is_the_next_forks() {
    let mut world = World::serving(3);
    assert_eq!(world.tell(Input::Leave { id: Id(2), voluntary: true }), [Effect::Drain { id: Id(2) }]);
    assert!(spawns(&world.dies(2, DONE)).is_empty());
    let id = world.fleet.ids.next();
    assert_eq!(spawns(&world.tell(Input::Fork { id })), [(4, 1)]);
}

#[test]
fn who_was_sent_a_sigterm_is_replaced() {
    let mut world = World::serving(1);
    world.tell(Input::Leave { id: Id(1), voluntary: false });
    assert_eq!(spawns(&world.dies(1, DONE)), [(2, 0)]);
}

#[test]
fn n35_a_terminate_that_is_not_heard_becomes_a_kill() {
    let mut world = World::serving(1);
    let effects = world.tell(Input::Kill { id: Id(1), signal: Signal::TERM });
    assert_eq!(effects, [Effect::Drain { id: Id(1) }, Effect::Signal { id: Id(1), signal: Signal::TERM }]);
    assert_eq!(signals(&world.after(6 * SECOND), Signal::KILL), 1);
}

#[test]
fn restart_rules() {
    for (restart, status, respawned) in [
        (Restart::Always, DONE, true),
        (Restart::OnFailure, DONE, false),
        (Restart::OnFailure, CRASH, true),
        (Restart::Never, CRASH, false),
    ] {
        let mut world = World::new(1, |rules| rules.restart = restart);
        world.up(1);
        assert_eq!(spawns(&world.dies(1, status)).len(), usize::from(respawned), "{restart:?} {status:?}");
        if !respawned {
            assert_eq!(world.fleet.end().unwrap().is_ok(), status == DONE);
        }
    }
}

#[test]
fn jobs_that_end_well_without_ever_serving_end_the_cluster_well() {
    let mut world = World::new(2, |rules| rules.restart = Restart::Never);
    world.dies(1, DONE);
    assert_eq!(world.fleet.end(), None);
    world.dies(2, DONE);
    assert_eq!(world.fleet.end(), Some(Ok(())));
}

#[test]
fn a_birth_that_fails_is_tried_again_later_and_tells_nobody() {
    let mut world = World::serving(1);
    let effects = world.fleet.step(Input::Exited { id: Id(1), status: KILLED }, world.now);
    assert_eq!(spawns(&effects), [(2, 0)]);
    let effects = world.fleet.step(Input::Unborn { id: Id(2) }, world.now);
    assert_eq!(effects, [Effect::Spawn { id: Id(3), slot: 0, generation: 1 }]);
    let effects = world.fleet.step(Input::Unborn { id: Id(3) }, world.now);
    assert!(matches!(effects[..], [Effect::Throttled { .. }]), "{effects:?}");
}

#[test]
fn a_worker_told_to_go_before_its_birth_is_told_again() {
    let mut fleet = World::serving(1).fleet;
    let now = Instant::now();
    let id = fleet.ids.next();
    assert_eq!(fleet.step(Input::Fork { id }, now).len(), 1);
    assert_eq!(fleet.step(Input::Disconnect { id }, now), []);
    let effects = fleet.step(Input::Born { id }, now);
    assert_eq!(effects, [Effect::Publish(Event::Fork(id)), Effect::Drain { id }]);
}

#[test]
fn a_channel_that_ends_is_told_once_and_the_worker_given_a_drains_time() {
    let mut world = World::serving(1);
    let effects = world.tell(Input::Closed { id: Id(1) });
    assert_eq!(effects, [Effect::Publish(Event::Disconnect(Id(1))), Effect::Drain { id: Id(1) }]);
    assert_eq!(world.tell(Input::Closed { id: Id(1) }), []);
    assert_eq!(world.state(1), State::Disconnected);
    let effects = world.dies(1, KILLED);
    assert!(!effects.contains(&Effect::Publish(Event::Disconnect(Id(1)))));
}

#[test]
fn who_was_asked_to_leave_and_had_to_be_killed_is_not_replaced_either() {
    let mut world = World::serving(2);
    world.tell(Input::Disconnect { id: Id(1) });
    assert_eq!(signals(&world.after(6 * SECOND), Signal::KILL), 1);
    let effects = world.dies(1, KILLED);
    assert!(spawns(&effects).is_empty());
    let Some(Effect::Publish(Event::Exit(_, exit))) = effects.last() else { panic!("{effects:?}") };
    assert_eq!((exit.reason(), exit.exited_after_disconnect()), (Reason::TimedOut, true));
}

#[test]
fn a_worker_that_says_twice_that_it_is_online_is_told_of_once() {
    let mut world = World::new(1, |_| {});
    assert_eq!(world.tell(Input::Online { id: Id(1) }).len(), 1);
    assert_eq!(world.tell(Input::Online { id: Id(1) }), []);
}

#[test]
fn a_callback_that_stops_the_cluster_at_a_signal_does_not_make_it_the_second() {
    let mut world = World::serving(1);
    world.tell(Input::Stop { signal: None });
    assert_eq!(world.tell(Input::Stop { signal: Some(Signal::TERM) }), []);
    assert_eq!(signals(&world.tell(Input::Stop { signal: Some(Signal::TERM) }), Signal::KILL), 1);
}

#[test]
fn who_went_as_told_is_not_blamed_though_its_channel_ended_before_its_process() {
    let mut world = World::new(2, |rules| rules.max_restarts = 0);
    world.up(1);
    world.up(2);
    world.tell(Input::Leave { id: Id(1), voluntary: false });
    world.tell(Input::Closed { id: Id(1) });
    assert_eq!(spawns(&world.dies(1, DONE)), [(3, 0)]);
    assert!(!world.fleet.is_stopping());
}

#[test]
fn births_that_fail_are_throttled_and_never_given_up() {
    let mut world = World::serving(1);
    let mut effects = world.fleet.step(Input::Exited { id: Id(1), status: KILLED }, world.now);
    for _ in 0..50 {
        if let [(id, _)] = spawns(&effects)[..] {
            effects = world.fleet.step(Input::Unborn { id: Id(id) }, world.now);
        } else {
            world.now += 20 * SECOND;
            effects = world.fleet.step(Input::Tick, world.now);
        }
    }
    assert!(!world.fleet.is_stopping());
}

#[test]
fn somebody_comes_until_whoever_is_to_be_replaced_is_replaced() {
    let mut world = World::serving(2);
    assert!(!world.fleet.somebody_comes());
    world.tell(Input::Closed { id: Id(1) });
    assert!(world.fleet.somebody_comes(), "its successor");
    world.tell(Input::Exited { id: Id(1), status: ExitStatus::Code(0) });
    assert!(world.fleet.somebody_comes());
    world.up(3);
    assert!(!world.fleet.somebody_comes());
    world.tell(Input::Disconnect { id: Id(2) });
    assert!(!world.fleet.somebody_comes(), "nobody follows one that was asked to leave");
}
