//! Health, judged by a clock of its own and without a process.

use proptest::prelude::*;

use super::*;
use crate::config::Restart;
use crate::event::{ExitStatus, Reason};
use crate::primary::step::{Ids, Input, Rules};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(60);
/// Of a healthy worker.
const BEAT: Duration = Duration::from_secs(10);

struct World {
    fleet: Fleet,
    began: Instant,
    now: Instant,
}

impl World {
    /// All workers ready, with one lane each, of the same number.
    fn serving(workers: u64, change: impl FnOnce(&mut Rules)) -> World {
        let mut rules = Rules {
            max_restarts: 3,
            restart_window: WITHIN,
            drain_timeout: 30 * SECOND,
            heartbeat: Some(WITHIN),
            ..Rules::usual()
        };
        change(&mut rules);
        let now = Instant::now();
        let mut world = World { fleet: Fleet::new(rules, Ids::default()), began: now, now };
        world.tell(Input::Start { workers: workers as usize });
        for id in 1..=workers {
            world.up(id);
            world.beat(id, Some(id));
        }
        world.turn();
        world
    }

    fn up(&mut self, id: u64) {
        for input in [Input::Born { id: Id(id) }, Input::Online { id: Id(id) }, Input::Ready { id: Id(id) }] {
            self.tell(input);
        }
    }

    fn tell(&mut self, input: Input) -> Vec<Effect> {
        self.fleet.step(input, self.now)
    }

    fn sign(&mut self, id: u64, sign: Sign) -> Vec<Effect> {
        self.tell(Input::Sign(Id(id), sign))
    }

    fn beat(&mut self, id: u64, lane: Option<u64>) -> Vec<Effect> {
        let every = self.fleet.rules.heartbeat.unwrap_or(WITHIN) / 6;
        self.sign(id, Sign::Beat { lane: lane.map(LaneId), every })
    }

    /// What the loop does at the end of each turn.
    fn turn(&mut self) -> Vec<Effect> {
        self.fleet.attend(self.now);
        match self.fleet.deadline() {
            Some(deadline) if deadline <= self.now => self.tell(Input::Tick),
            _ => Vec::new(),
        }
    }

    /// A loop that does nothing else, until then: it wakes when it has to.
    fn until(&mut self, seconds: u64) -> Vec<Effect> {
        let end = self.began + SECOND * seconds as u32;
        let mut effects = Vec::new();
        while let Some(deadline) = self.fleet.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            effects.extend(self.turn());
        }
        self.now = end;
        effects.extend(self.turn());
        effects
    }

    fn suspects(&self, id: u64) -> bool {
        self.fleet.hearts.hearts.get(&Id(id)).is_some_and(|heart| heart.suspected)
    }

    fn dies(&mut self, id: u64, status: ExitStatus) -> Vec<Effect> {
        self.tell(Input::Closed { id: Id(id) });
        self.tell(Input::Exited { id: Id(id), status })
    }
}

fn findings(effects: &[Effect]) -> Vec<(u64, &'static str)> {
    let found = effects.iter().filter_map(|effect| match effect {
        Effect::Found(id, Finding::Suspected { .. }) => Some((id.0, "suspected")),
        Effect::Found(id, Finding::Trusted) => Some((id.0, "trusted")),
        Effect::Found(id, Finding::Stalled { .. }) => Some((id.0, "stalled")),
        _ => None,
    });
    found.collect()
}

/// Mutation: judge by another part of the time; say it twice.
#[test]
fn p32_a_silent_worker_is_suspected_once_and_stalls_once() {
    let mut world = World::serving(1, |_| {});
    assert_eq!(findings(&world.until(29)), []);
    let effects = world.until(30);
    assert_eq!(effects, [Effect::Found(Id(1), Finding::Suspected { silent: 30 * SECOND })]);
    assert!(world.suspects(1));
    assert_eq!(findings(&world.until(59)), []);
    let effects = world.until(60);
    let stalled = Finding::Stalled { silent: 60 * SECOND, grace: 5 * SECOND };
    let (id, signal) = (Id(1), Signal::TERM);
    assert_eq!(effects, [Effect::Found(id, stalled), Effect::Signal { id, signal }, Effect::Drain { id }]);
    assert_eq!(world.fleet.time_to_drain(id), 5 * SECOND);
    assert_eq!(findings(&world.until(65)), []);
    assert_eq!(world.until(66), [Effect::Signal { id, signal: Signal::KILL }], "P34: after the grace");
}

/// Mutation: leave it suspected; or let it be trusted before all of its threads have beaten.
#[test]
fn p32_one_lane_is_enough_and_its_beat_makes_it_trusted_again() {
    let mut world = World::serving(2, |_| {});
    world.beat(1, Some(7));
    let mut found = Vec::new();
    for second in (10..=40).step_by(10) {
        found.extend(world.until(second));
        for (id, lane) in [(1, 7), (2, 2)] {
            found.extend(world.beat(id, Some(lane)));
        }
    }
    assert_eq!(findings(&found), [(1, "suspected")]);
    assert_eq!(world.fleet.last_beat(Id(1), world.now), Some(40 * SECOND), "P37: that of the worst");
    assert_eq!(world.fleet.last_beat(Id(2), world.now), Some(Duration::ZERO));
    // A new lane is no better.
    assert_eq!(findings(&world.beat(1, Some(8))), [(1, "suspected")]);
    assert_eq!(findings(&world.beat(1, Some(1))), [(1, "trusted")]);
    assert!(!world.suspects(1));
    assert_eq!(findings(&world.until(49)), []);
}

/// Mutation: wait for the beats of a lane that has ended.
#[test]
fn a_lane_that_has_ended_is_not_waited_for() {
    let mut world = World::serving(1, |_| {});
    world.beat(1, Some(2));
    world.until(25);
    world.beat(1, Some(2));
    assert_eq!(findings(&world.until(35)), [(1, "suspected")]);
    assert_eq!(findings(&world.sign(1, Sign::Over { lane: Some(LaneId(1)) })), [(1, "trusted")]);
    world.sign(1, Sign::Over { lane: Some(LaneId(2)) });
    assert_eq!(world.fleet.last_beat(Id(1), world.now), None);
    assert_eq!(findings(&world.until(1000)), []);
}

/// Mutation: judge the body of a worker that has lanes; or never.
#[test]
fn p32_the_body_counts_where_there_is_no_lane() {
    let mut world = World::serving(1, |_| {});
    world.beat(1, None);
    for second in [20, 40, 60, 80] {
        assert_eq!(findings(&world.until(second)), [], "it may be busy while others serve");
        world.beat(1, Some(1));
    }
    world.sign(1, Sign::Over { lane: Some(LaneId(1)) });
    assert_eq!(findings(&world.until(109)), [], "it has its time from then on");
    assert_eq!(findings(&world.until(110)), [(1, "suspected")]);
    assert_eq!(findings(&world.sign(1, Sign::Over { lane: None })), [(1, "trusted")]);
    assert_eq!(findings(&world.until(1000)), []);
}

/// Mutation: begin with the birth; count the time before it was ready.
#[test]
fn p35_before_it_is_ready_a_worker_has_its_start_up_deadline_and_no_other() {
    let mut world = World::serving(1, |rules| {
        rules.heartbeat = Some(2 * SECOND);
        rules.restart_window = SECOND;
    });
    world.sign(1, Sign::Over { lane: Some(LaneId(1)) });
    world.tell(Input::Fork { id: Id(9) });
    world.tell(Input::Born { id: Id(9) });
    world.tell(Input::Online { id: Id(9) });
    assert_eq!(world.until(9), []);
    assert_eq!(world.until(10), [Effect::Signal { id: Id(9), signal: Signal::KILL }]);
    let effects = world.dies(9, ExitStatus::Signal(Signal::KILL));
    let late = |effect: &Effect| matches!(effect, Effect::Publish(crate::primary::step::Event::Exit(_, exit)) if exit.reason == Reason::TimedOut);
    assert!(effects.iter().any(late), "{effects:?}");
}

/// Mutation: judge whoever drains; let a beat bring it back.
#[test]
fn who_drains_is_judged_by_its_drain() {
    let mut world = World::serving(2, |rules| rules.drain_timeout = 300 * SECOND);
    world.until(25);
    world.beat(2, Some(2));
    world.until(30);
    assert!(world.suspects(1));
    world.tell(Input::Disconnect { id: Id(1) });
    assert_eq!(world.fleet.time_to_drain(Id(1)), 300 * SECOND);
    assert_eq!(world.beat(1, Some(1)), []);
    world.sign(2, Sign::Over { lane: Some(LaneId(2)) });
    assert_eq!(world.until(329), []);
    assert_eq!(world.until(331), [Effect::Signal { id: Id(1), signal: Signal::KILL }]);
}

/// Mutation: any line of it.
#[test]
fn p32_a_stalled_worker_is_replaced_and_its_exit_says_why() {
    for status in [ExitStatus::Signal(Signal::KILL), ExitStatus::Signal(Signal::TERM), ExitStatus::Code(0)] {
        for restart in [Restart::Always, Restart::OnFailure] {
            let mut world = World::serving(1, |rules| rules.restart = restart);
            world.tell(Input::Proven { id: Id(1) });
            world.until(60);
            let effects = world.dies(1, status);
            let Some(Effect::Publish(crate::primary::step::Event::Exit(_, exit))) = effects.first() else {
                panic!("{effects:?}")
            };
            assert_eq!((exit.reason, exit.asked), (Reason::Stalled, false));
            assert!(matches!(effects[1], Effect::Spawn { slot: 0, .. }), "{restart:?}: {effects:?}");
        }
    }
}

/// Mutation: call it blameless in any case.
#[test]
fn p32_who_stalls_again_and_again_before_it_has_served_makes_the_cluster_give_up() {
    let mut world = World::serving(1, |rules| {
        rules.heartbeat = Some(2 * SECOND);
        rules.max_restarts = 2;
    });
    let mut id = 1;
    for round in 1..=3 {
        let stalled = world.until((world.now - world.began).as_secs() + 2);
        assert_eq!(findings(&stalled).last(), Some(&(id, "stalled")));
        let effects = world.dies(id, ExitStatus::Code(0));
        if round == 3 {
            assert!(effects.contains(&Effect::StopListening), "{effects:?}");
            return;
        }
        world.until((world.now - world.began).as_secs() + 1);
        id += 1;
        world.up(id);
        world.beat(id, Some(id));
        world.turn();
    }
}

/// Mutation: never renew; judge before.
#[test]
fn a_primary_that_was_held_up_gives_everybody_all_of_the_time_again() {
    let mut world = World::serving(2, |_| {});
    world.until(20);
    world.beat(2, Some(2));
    world.until(31);
    assert!(world.suspects(1));
    world.now += 1000 * SECOND;
    assert_eq!(world.turn(), []);
    assert_eq!(world.fleet.last_beat(Id(1), world.now), Some(Duration::ZERO));
    assert_eq!(findings(&world.until(1031 + 29)), []);
    assert_eq!(findings(&world.beat(1, Some(1))), [(1, "trusted")]);
    assert_eq!(findings(&world.until(1031 + 30)), [(2, "suspected")]);
}

/// Mutation: judge by the time of the judgement, and not by that of the turn.
#[test]
fn what_waited_to_be_read_counts() {
    let mut world = World::serving(1, |_| {});
    world.until(30);
    world.until(59);
    world.now = world.began + 61 * SECOND;
    world.fleet.attend(world.now);
    assert_eq!(world.fleet.silent(), [Id(1)], "it is asked first");
    world.now += SECOND;
    assert_eq!(findings(&world.beat(1, Some(1))), [(1, "trusted")]);
    assert_eq!(findings(&world.tell(Input::Tick)), []);
    // Of whom nothing was read since then, no more is known than then.
    world.until(61 + 29);
    world.now += 2 * SECOND;
    world.fleet.attend(world.now);
    world.now += 40 * SECOND;
    assert_eq!(findings(&world.tell(Input::Tick)), [(1, "suspected")]);
}

/// Mutation: any use of the clock.
#[test]
fn p32_off_is_never() {
    let mut world = World::serving(1, |rules| rules.heartbeat = None);
    assert_eq!(world.fleet.deadline(), None, "nobody wakes for it");
    assert_eq!(world.until(1_000_000), []);
    assert_eq!(world.beat(1, Some(1)), []);
    assert_eq!(world.fleet.last_beat(Id(1), world.now), None);
}

/// Mutation: expect beats as often as the new settings say.
#[test]
fn one_that_was_born_under_other_rules_keeps_its_pace() {
    let mut world = World::serving(1, |_| {});
    world.sign(1, Sign::Beat { lane: Some(LaneId(1)), every: 100 * SECOND });
    assert_eq!(findings(&world.until(299)), []);
    assert_eq!(findings(&world.until(300)), [(1, "suspected")]);
}

/// Mutation: judge who died.
#[test]
fn nothing_is_left_of_the_dead() {
    let mut world = World::serving(1, |rules| rules.restart = Restart::Never);
    world.dies(1, ExitStatus::Code(0));
    assert!(world.fleet.hearts.hearts.is_empty());
    assert_eq!(world.fleet.deadline(), None);
}

/// A hold-up: when it begins, how long it lasts, and whether the workers were stopped, too, as when the machine sleeps.
fn hold_up() -> impl Strategy<Value = (u64, u64, bool)> {
    (0..400_000u64, prop_oneof![0..16_000u64, 10_000..200_000u64], any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    /// Workers that beat whenever they can, and a primary that is stopped now and then, in the wait or in a callback after it
    /// has read.
    ///
    /// Mutation: take a turn more seldom; call it late only after half of the time; renew nobody; do not ask again before
    /// the judgement.
    #[test]
    fn who_beats_is_never_suspected_whatever_holds_the_primary_up(
        phases in prop::collection::vec(0..10_000u64, 1..4),
        mut hold_ups in prop::collection::vec(hold_up(), 0..8),
        in_callback in any::<bool>(),
    ) {
        hold_ups.sort();
        // Not one right after the other: of short ones that leave nobody the time to beat between them nothing can be known.
        let mut free = 0;
        hold_ups.retain(|(from, ms, _)| {
            let apart = *from >= free;
            if apart {
                free = from + ms + 20_000;
            }
            apart
        });
        let mut world = World::serving(phases.len() as u64, |_| {});
        let at = |ms: u64| world.began + MS * ms as u32;
        // When the next beat of each is due, and those that wait to be read.
        let mut next: Vec<_> = phases.iter().map(|phase| at(*phase)).collect();
        let mut hold_ups: Vec<_> = hold_ups.iter().map(|(from, ms, all)| (at(*from), MS * *ms as u32, *all)).collect();
        hold_ups.reverse();
        let end = at(500_000);
        while world.now < end {
            // The wait: for the next beat or the deadline.
            let beat = next.iter().min().copied().expect("a worker");
            let deadline = world.fleet.deadline().expect("a pulse has a deadline");
            let mut woken = world.now.max(beat.min(deadline));
            let mut held = Duration::ZERO;
            if let Some((from, length, all)) = hold_ups.pop_if(|(from, ..)| *from <= woken) {
                held = length;
                if all {
                    // Whoever would have beaten meanwhile does so just when everybody has gone on.
                    let thaw = from.max(world.now) + length;
                    next.iter_mut().filter(|next| **next > world.now).for_each(|next| *next = (*next).max(thaw + MS));
                }
            }
            if !in_callback {
                woken += held;
            }
            let mut read = |world: &mut World, now: Instant| {
                let mut effects = Vec::new();
                world.now = now;
                for (worker, next) in next.iter_mut().enumerate() {
                    while *next <= now {
                        *next += BEAT + MS;
                        let id = worker as u64 + 1;
                        effects.extend(world.beat(id, Some(id)));
                    }
                }
                effects
            };
            let mut effects = read(&mut world, woken);
            if in_callback {
                world.now += held;
            }
            world.fleet.attend(world.now);
            if !world.fleet.silent().is_empty() {
                let now = world.now;
                effects.extend(read(&mut world, now));
            }
            effects.extend(world.turn());
            prop_assert!(findings(&effects).is_empty(), "{:?}: {effects:?}", world.now - world.began);
        }
    }
}

/// A worker that has stopped says nothing, and so nothing that would make it known to another image. Mutation: save no hearts.
#[test]
fn p32_one_that_stands_still_through_an_upgrade_is_found_in_the_next_image() {
    let mut world = World::serving(2, |_| {});
    world.until(50);
    assert_eq!(world.tell(Input::Upgrade), [Effect::Check]);
    world.tell(Input::Checked(Ok(())));
    assert_eq!(world.tell(Input::Quiet), [Effect::Exec]);
    let (saved, rules) = (world.fleet.save(world.now), world.fleet.rules.clone());
    let refused = Some("it could not take over".to_owned());
    world.fleet = Fleet::restore(&saved, rules, Ids::default(), 2, refused, world.now).unwrap();
    world.tell(Input::Resume);
    world.beat(1, Some(1));
    world.turn();
    // Of nobody it is known what was said meanwhile: each has all of the time again.
    assert_eq!(findings(&world.until(79)), []);
    assert!(findings(&world.until(80)).contains(&(2, "suspected")));
    world.beat(1, Some(1));
    assert_eq!(findings(&world.until(109)), []);
    assert!(findings(&world.until(110)).contains(&(2, "stalled")));
}
