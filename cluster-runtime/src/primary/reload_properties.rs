//! What holds of reloads, whatever happens.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::step::{Ids, Input, Rules};
use super::*;
use crate::event::{ExitStatus, Signal, State};
use crate::ipc::message::Wear;

const SECOND: Duration = Duration::from_secs(1);

/// Something happens; to a member, by its number among those there are.
#[derive(Clone, Debug)]
enum Happening {
    Reload,
    Fork,
    Ready(usize),
    Proven(usize),
    Dies(usize, ExitStatus),
    Closes(usize),
    Leaves(usize, bool),
    Disconnected(usize),
    Signalled(usize, Signal),
    /// This many births from now on fail.
    Barren(usize),
    NoPreload,
    Worn(usize),
    Scale(usize),
    Later(u64),
}

/// A fleet, the processes that it believes in, and what it was asked and has answered.
struct World {
    fleet: Fleet,
    now: Instant,
    killed: BTreeSet<Id>,
    /// Told to finish.
    told: BTreeSet<Id>,
    births_to_fail: usize,
    births: usize,
    may_be_born: usize,
    requests: usize,
    begun: Vec<u64>,
    ended: Vec<Reload>,
    stopped: bool,
}

impl World {
    fn new(workers: usize, surge: usize) -> World {
        let rules =
            Rules { max_restarts: u32::MAX, max_surge: surge, max_age: Some(600 * SECOND), ..Rules::usual() };
        let mut world = World {
            fleet: Fleet::new(rules, Ids::default()),
            now: Instant::now(),
            killed: BTreeSet::new(),
            told: BTreeSet::new(),
            births_to_fail: 0,
            births: 0,
            may_be_born: workers,
            requests: 0,
            begun: Vec::new(),
            ended: Vec::new(),
            stopped: false,
        };
        world.tell(Input::Start { workers });
        for id in world.ids() {
            world.tell(Input::Ready { id });
        }
        world
    }

    fn ids(&self) -> Vec<Id> {
        self.fleet.members().map(|(id, _)| id).collect()
    }

    fn nth(&self, number: usize) -> Option<Id> {
        let ids = self.ids();
        (!ids.is_empty()).then(|| ids[number % ids.len()])
    }

    fn ready(&self) -> usize {
        self.fleet.members().filter(|(_, member)| member.state() == State::Listening).count()
    }

    /// Steps, and does what is asked; looks at everything that must hold.
    fn tell(&mut self, input: Input) {
        let mut todo = vec![input];
        while let Some(input) = todo.pop() {
            match &input {
                Input::Exited { .. } | Input::Unborn { .. } | Input::Fork { .. } => self.may_be_born += 1,
                Input::Reload => self.requests += 1,
                // Once, and once more in a reload that begins meanwhile.
                Input::Worn { .. } => self.may_be_born += 1,
                Input::Scale { workers } => self.may_be_born += workers,
                _ => {}
            }
            for effect in self.fleet.step(input, self.now) {
                match effect {
                    Effect::Spawn { id, generation, .. } => {
                        assert!(!self.stopped, "a birth after the stop");
                        let wanted = [Some(self.fleet.generation()), self.fleet.reloading()];
                        let failed = self.ended.last().is_some_and(|ended| ended.generation == generation);
                        assert!(
                            wanted.contains(&Some(generation)) || failed,
                            "a birth of generation {generation}"
                        );
                        self.births += 1;
                        todo.push(match self.births_to_fail.checked_sub(1) {
                            Some(left) => {
                                self.births_to_fail = left;
                                Input::Unborn { id }
                            }
                            None => Input::Born { id },
                        });
                    }
                    Effect::Drain { id } => drop(self.told.insert(id)),
                    Effect::Signal { id, signal: Signal::KILL } => drop(self.killed.insert(id)),
                    Effect::StopListening => self.stopped = true,
                    Effect::Reloading { generation } => {
                        self.begun.push(generation);
                        // Each slot once, and one that is forked meanwhile has been counted.
                        self.may_be_born += self.fleet.slots.len();
                    }
                    Effect::Reloaded(outcome) => self.ended.push(outcome),
                    Effect::Foretell { .. }
                    | Effect::Signal { .. }
                    | Effect::Publish(_)
                    | Effect::Throttled { .. }
                    | Effect::Found(..) => {}
                    Effect::Recycling { .. } | Effect::NotRecycled { .. } | Effect::Scaled { .. } => {}
                    other => panic!("nobody asked for an upgrade: {other:?}"),
                }
            }
            self.look();
        }
    }

    fn look(&self) {
        for (at, slot) in self.fleet.slots.iter().enumerate() {
            let Some(id) = slot.holder else { continue };
            assert_eq!(self.fleet.member(id).map(|member| member.slot), Some(at), "a slot of a stranger");
        }
        assert!(self.births <= 2 * self.may_be_born, "{} births", self.births);
        assert!(self.ended.len() <= self.requests, "an outcome that nobody asked for");
        if let Some(running) = &self.fleet.reloads.running {
            assert!(self.fleet.is_awaited(running), "it waits for nobody");
            assert!(!self.stopped);
        }
        let coming = &self.fleet.reloads.coming;
        assert!(coming.len() <= self.fleet.rules.max_surge, "{coming:?}");
        assert!(coming.is_empty() || !self.stopped);
        for (slot, id) in coming {
            let member = self.fleet.member(*id).expect("one that is coming");
            let generation = self.fleet.reloading().unwrap_or(self.fleet.generation());
            assert_eq!((member.slot, member.generation), (*slot, generation));
            assert_ne!(self.fleet.slots[*slot].holder, Some(*id), "it holds its slot only when it is ready");
        }
        assert!(self.stopped || self.fleet.target == self.places(), "{} places", self.fleet.target);
    }

    fn is_worn(&self) -> bool {
        !self.stopped && self.fleet.members().any(|(_, member)| member.worn.is_some())
    }

    fn coming(&self, id: Id) -> bool {
        self.fleet.reloads.coming.values().any(|coming| *coming == id)
    }

    fn places(&self) -> usize {
        (0..self.fleet.slots.len()).filter(|slot| self.fleet.is_filled(*slot)).count()
    }

    fn happen(&mut self, happening: Happening) {
        let one = |world: &World, number| world.nth(number);
        let input = match happening {
            Happening::Reload => Some(Input::Reload),
            Happening::Fork => Some(Input::Fork { id: self.fleet.ids.next() }),
            Happening::Ready(n) => one(self, n).map(|id| Input::Ready { id }),
            Happening::Proven(n) => one(self, n).map(|id| Input::Proven { id }),
            Happening::Dies(n, status) => one(self, n).map(|id| Input::Exited { id, status }),
            Happening::Closes(n) => one(self, n).map(|id| Input::Closed { id }),
            Happening::Leaves(n, voluntary) => one(self, n).map(|id| Input::Leave { id, voluntary }),
            Happening::Disconnected(n) => one(self, n).map(|id| Input::Disconnect { id }),
            Happening::Signalled(n, signal) => one(self, n).map(|id| Input::Kill { id, signal }),
            Happening::Barren(births) => {
                self.births_to_fail = births;
                None
            }
            Happening::NoPreload => {
                let generation = self.fleet.reloading().unwrap_or(0);
                Some(Input::Barren { generation, why: String::new() })
            }
            Happening::Worn(n) => one(self, n).map(|id| Input::Worn { id, why: Wear::Requests(1) }),
            Happening::Scale(workers) => Some(Input::Scale { workers }),
            Happening::Later(ms) => {
                self.now += Duration::from_millis(ms);
                Some(Input::Tick)
            }
        };
        if let Some(input) = input {
            self.tell(input);
        }
    }

    /// Everybody behaves from now on: who is to go goes, and who is to come comes.
    fn settle(&mut self) {
        self.births_to_fail = 0;
        for _ in 0..200 {
            let filled = self.fleet.slots.iter().all(|slot| slot.refill_at.is_none());
            let done = self.fleet.reloading().is_none() && !self.fleet.reloads.wanted && !self.is_worn();
            if filled && done && self.ready() == self.fleet.members().count() {
                return;
            }
            for id in self.ids() {
                if self.killed.contains(&id) {
                    self.tell(Input::Exited { id, status: ExitStatus::Signal(Signal::KILL) });
                } else if self.told.contains(&id) {
                    self.tell(Input::Exited { id, status: ExitStatus::Code(0) });
                } else {
                    self.tell(Input::Ready { id });
                    self.tell(Input::Proven { id });
                }
            }
            self.now += SECOND;
            self.tell(Input::Tick);
        }
    }
}

fn status() -> impl Strategy<Value = ExitStatus> {
    prop_oneof![
        Just(ExitStatus::Code(0)),
        Just(ExitStatus::Code(1)),
        Just(ExitStatus::Signal(Signal::KILL)),
        Just(ExitStatus::Signal(Signal::SEGV)),
    ]
}

fn anything() -> impl Strategy<Value = Happening> {
    let who = 0..32usize;
    prop_oneof![
        3 => Just(Happening::Reload),
        1 => Just(Happening::Fork),
        8 => who.clone().prop_map(Happening::Ready),
        2 => who.clone().prop_map(Happening::Proven),
        6 => (who.clone(), status()).prop_map(|(who, status)| Happening::Dies(who, status)),
        1 => who.clone().prop_map(Happening::Closes),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, voluntary)| Happening::Leaves(who, voluntary)),
        1 => who.clone().prop_map(Happening::Disconnected),
        1 => (who.clone(), prop_oneof![Just(Signal::KILL), Just(Signal::TERM), Just(Signal::USR1)])
            .prop_map(|(who, signal)| Happening::Signalled(who, signal)),
        1 => (0..3usize).prop_map(Happening::Barren),
        1 => Just(Happening::NoPreload),
        4 => who.clone().prop_map(Happening::Worn),
        1 => (0..6usize).prop_map(Happening::Scale),
        4 => (0..8000u64).prop_map(Happening::Later),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, it ends: each reload that began has one outcome, in order, and whatever was asked for was begun.
    #[test]
    fn every_reload_ends_once(
        workers in 1..5usize,
        surge in 1..4usize,
        happenings in prop::collection::vec(anything(), 0..80),
    ) {
        let mut world = World::new(workers, surge);
        happenings.into_iter().for_each(|happening| world.happen(happening));
        world.settle();
        prop_assert_eq!(world.fleet.reloading(), None);
        prop_assert!(!world.is_worn(), "each has its turn");
        prop_assert_eq!(world.requests > 0, !world.ended.is_empty());
        let ended: Vec<_> = world.ended.iter().map(Reload::generation).collect();
        prop_assert_eq!(&ended, &world.begun);
        prop_assert!(ended.is_sorted_by(|a, b| a < b), "a number was used twice: {:?}", ended);
        let won = world.ended.iter().rfind(|outcome| outcome.result().is_ok()).map_or(1, Reload::generation);
        prop_assert_eq!(world.fleet.generation(), won);
        // Nobody is left who should not be, and nobody is missing.
        let members = world.fleet.members().count();
        prop_assert_eq!(members, world.fleet.slots.iter().filter(|slot| slot.holder.is_some()).count());
    }

    /// After a reload has succeeded nobody is, or will be, of a generation before it.
    #[test]
    fn nobody_falls_behind_a_success(
        workers in 1..5usize,
        surge in 1..4usize,
        before in prop::collection::vec(anything(), 0..40),
        after in prop::collection::vec(anything(), 0..40),
    ) {
        let mut world = World::new(workers, surge);
        before.into_iter().for_each(|happening| world.happen(happening));
        world.settle();
        world.tell(Input::Reload);
        world.settle();
        let last = world.ended.last().expect("an outcome");
        prop_assert!(last.result().is_ok(), "everybody behaved: {:?}", last);
        let generation = last.generation();
        for happening in after {
            world.happen(happening);
            prop_assert!(world.fleet.members().all(|(_, member)| member.generation >= generation));
        }
    }

    /// If nobody dies of itself, no reload and no replacement takes away anything from those who are ready.
    #[test]
    fn as_many_are_ready_as_ever(
        workers in 1..6usize,
        surge in 1..4usize,
        happenings in prop::collection::vec((0..8u8, 0..32usize), 0..120),
    ) {
        let mut world = World::new(workers, surge);
        for (what, who) in happenings {
            match (what, world.nth(who)) {
                (0, _) => world.tell(Input::Reload),
                // Who was told to finish does, sooner or later.
                (1, Some(id)) if world.told.contains(&id) => {
                    world.tell(Input::Exited { id, status: ExitStatus::Code(0) });
                }
                (2, Some(id)) => world.tell(Input::Online { id }),
                (3, Some(id)) => world.tell(Input::Worn { id, why: Wear::Requests(1) }),
                // Before its time is over.
                (4, Some(id)) if world.coming(id) => world.tell(Input::Exited { id, status: ExitStatus::Code(1) }),
                (5, _) => world.happen(Happening::Later(1000)),
                (_, Some(id)) => world.tell(Input::Ready { id }),
                _ => {}
            }
            prop_assert!(world.ready() >= workers, "{} of {workers} are ready", world.ready());
            let most = 2 * workers + surge.min(workers);
            prop_assert!(world.fleet.members().count() <= most, "more than two generations");
        }
    }

    /// A stop wins: from then on nobody is born, every outcome is there, and the cluster ends when all have gone.
    #[test]
    fn a_stop_wins(
        workers in 1..5usize,
        surge in 1..4usize,
        happenings in prop::collection::vec(anything(), 0..60),
        later in prop::collection::vec(anything(), 0..30),
        now in any::<bool>(),
    ) {
        let mut world = World::new(workers, surge);
        happenings.into_iter().for_each(|happening| world.happen(happening));
        world.tell(if now { Input::StopNow { signal: Signal::QUIT } } else { Input::Stop { signal: None } });
        prop_assert_eq!(world.fleet.reloading(), None);
        let stopped = world.ended.len();
        let asked = world.requests;
        later.into_iter().for_each(|happening| world.happen(happening));
        prop_assert_eq!(world.ended.len() - stopped, world.requests - asked, "each is refused at once");
        world.settle();
        prop_assert!(world.fleet.is_over());
    }
}
