//! What holds of upgrades, whatever happens.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::saved::State;
use super::super::step::{Ids, Input, Rules};
use super::*;
use crate::config::Restart;
use crate::event::{ExitStatus, Signal};

const SECOND: Duration = Duration::from_secs(1);

/// Something happens; to a member, by its number among those there are.
#[derive(Clone, Debug)]
enum Happening {
    Upgrade,
    Reload,
    Fork,
    Checked(bool),
    Ready(usize),
    Proven(usize),
    /// The births that were asked for happen; or all fail.
    Births(bool),
    Dies(usize, ExitStatus),
    Closes(usize),
    Leaves(usize, bool),
    Signalled(usize, Signal),
    NoPreload,
    Later(u64),
    /// The execs from now on fail, or succeed.
    Execs(bool),
    /// The image that is executed from now on takes over, or goes back at once.
    TakesOver(bool),
    /// How many workers the next image wants.
    Workers(usize),
}

/// A fleet through all its images, the processes that it believes in, and what it was asked and has answered.
struct World {
    fleet: Fleet,
    now: Instant,
    rules: Rules,
    /// Births take a while, as with a nursery; else they happen at once.
    slow: bool,
    unborn: BTreeSet<Id>,
    killed: BTreeSet<Id>,
    told: BTreeSet<Id>,
    execs: bool,
    takes_over: bool,
    /// What is configured here, in the next image, and in the one before this.
    workers: usize,
    next_workers: usize,
    workers_before: usize,
    wishes: usize,
    upgraded: Vec<Upgrade>,
    images: usize,
    numbers: BTreeSet<u64>,
    stopped: bool,
    /// Ready ones that have gone unasked.
    lost: usize,
}

impl World {
    fn new(workers: usize, surge: usize, slow: bool) -> World {
        let rules = Rules {
            restart: Restart::Always,
            max_restarts: u32::MAX,
            restart_window: 60 * SECOND,
            startup_timeout: 10 * SECOND,
            drain_timeout: 5 * SECOND,
            max_surge: surge,
        };
        let mut world = World {
            fleet: Fleet::new(rules.clone(), Ids::default()),
            now: Instant::now(),
            rules,
            slow,
            unborn: BTreeSet::new(),
            killed: BTreeSet::new(),
            told: BTreeSet::new(),
            execs: true,
            takes_over: true,
            workers,
            next_workers: workers,
            workers_before: workers,
            wishes: 0,
            upgraded: Vec::new(),
            images: 0,
            numbers: BTreeSet::from([1]),
            stopped: false,
            lost: 0,
        };
        world.tell(Input::Start { workers });
        world.births(true);
        for id in world.ids() {
            world.tell(Input::Ready { id });
            world.tell(Input::Proven { id });
        }
        world
    }

    fn ids(&self) -> Vec<Id> {
        self.fleet.members().map(|(id, _)| id).collect()
    }

    /// Of those that exist.
    fn nth(&self, number: usize) -> Option<Id> {
        let ids: Vec<_> = self.fleet.members().filter(|(_, m)| m.exists).map(|(id, _)| id).collect();
        (!ids.is_empty()).then(|| ids[number % ids.len()])
    }

    fn ready(&self) -> usize {
        let serves =
            |member: &Member| member.connected && member.ready().is_some() && !member.life.is_leaving();
        self.fleet.members().filter(|(_, member)| serves(member)).count()
    }

    /// Steps, and does what is asked, as the loop does; looks at everything that must hold.
    fn tell(&mut self, input: Input) {
        self.step(input);
        let state = State { fleet: self.fleet.save(self.now) };
        let bytes = state.encode().unwrap();
        assert_eq!(State::decode(&bytes).unwrap().encode().unwrap(), bytes);
        while self.fleet.awaits_quiet() {
            let effects = self.fleet.step(Input::Quiet, self.now);
            assert_eq!(effects.len(), 1, "an exec would cut something off: {effects:?}");
            assert!(!self.stopped && self.unborn.is_empty());
            assert!(self.fleet.reloads.running.is_none());
            let back = matches!(effects[0], Effect::GoBack { .. });
            match self.execs {
                true => self.execute(back),
                false => self.step(Input::NotExeced("no".into())),
            }
        }
    }

    /// One image gives way to the next.
    fn execute(&mut self, back: bool) {
        self.images += 1;
        let saved = State { fleet: self.fleet.save(self.now) };
        let bytes = saved.encode().unwrap();
        let state = State::decode(&bytes).unwrap();
        assert_eq!(state.encode().unwrap(), bytes);
        let refused = (!back && !self.takes_over).then(|| "it would not".to_owned());
        match (back, &refused) {
            (true, _) => self.workers = self.workers_before,
            (false, None) => {
                self.workers_before = self.workers;
                self.workers = self.next_workers;
            }
            (false, Some(_)) => {}
        }
        let goes_on = refused.is_none();
        let rules = self.rules.clone();
        let (ids, workers) = (Ids::default(), self.workers);
        self.fleet = Fleet::restore(&state.fleet, rules, ids, workers, refused, self.now).unwrap();
        if goes_on {
            assert_eq!(self.fleet.save(self.now), saved.fleet, "what was saved is not what there is");
        }
        self.step(Input::Resume);
    }

    fn step(&mut self, input: Input) {
        let mut todo = vec![input];
        while let Some(input) = todo.pop() {
            match &input {
                Input::Upgrade => self.wishes += 1,
                Input::Exited { id, .. } => {
                    let member = self.fleet.member(*id);
                    self.lost += usize::from(member.is_some_and(|m| m.ready().is_some() && !m.asked));
                }
                _ => {}
            }
            for effect in self.fleet.step(input, self.now) {
                match effect {
                    Effect::Spawn { id, generation, .. } => {
                        assert!(!self.stopped, "a birth after the stop");
                        let member = self.fleet.member(id).expect("one that is to be born");
                        assert_eq!(member.generation, generation);
                        if member.asked {
                            todo.push(Input::Unborn { id });
                        } else if self.slow {
                            self.unborn.insert(id);
                        } else {
                            todo.push(Input::Born { id });
                        }
                    }
                    Effect::NotToBe { id } => todo.push(Input::Unborn { id }),
                    Effect::Drain { id } => drop(self.told.insert(id)),
                    Effect::Signal { id, signal: Signal::KILL } => drop(self.killed.insert(id)),
                    Effect::StopListening => {
                        self.stopped = true;
                        let unborn = std::mem::take(&mut self.unborn);
                        todo.extend(unborn.into_iter().map(|id| Input::Unborn { id }));
                    }
                    Effect::Reloaded(outcome) => {
                        assert!(self.numbers.insert(outcome.generation()), "{outcome:?}: used before");
                    }
                    Effect::Upgraded(outcome) => {
                        assert!(self.numbers.insert(outcome.generation()), "{outcome:?}: used before");
                        self.upgraded.push(outcome);
                    }
                    Effect::Check => assert!(!self.stopped),
                    Effect::Exec | Effect::GoBack { .. } => panic!("asked for in the middle of a turn"),
                    Effect::Retire { .. } => {
                        let unborn = std::mem::take(&mut self.unborn);
                        todo.extend(unborn.into_iter().map(|id| Input::Unborn { id }));
                    }
                    Effect::Signal { .. }
                    | Effect::Publish(_)
                    | Effect::Throttled { .. }
                    | Effect::Reloading { .. }
                    | Effect::Proving { .. }
                    | Effect::Returning { .. }
                    | Effect::Returned(_) => {}
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
        let upgrades = &self.fleet.upgrades;
        let open = usize::from(upgrades.under_way.is_some());
        assert_eq!(self.upgraded.len() + open, self.wishes, "one outcome for each wish");
        assert!(upgrades.postponed.is_empty() || upgrades.postpone_births(), "they wait for nothing");
        for id in &upgrades.postponed {
            assert!(self.fleet.member(*id).is_some_and(|member| !member.exists), "born, and yet to be born");
        }
        let (current, last) = (self.fleet.reloads.current, self.fleet.reloads.last);
        assert!(current <= last, "{current} of {last}");
        if let Some(running) = &self.fleet.reloads.running {
            assert!(!self.stopped && !upgrades.postpone_births());
            assert!(running.coming.len() <= self.fleet.rules.max_surge, "{running:?}");
        }
    }

    fn births(&mut self, succeed: bool) {
        for id in std::mem::take(&mut self.unborn) {
            self.tell(if succeed { Input::Born { id } } else { Input::Unborn { id } });
        }
    }

    fn happen(&mut self, happening: Happening) {
        let one = |world: &World, number| world.nth(number);
        let input = match happening {
            Happening::Upgrade => Some(Input::Upgrade),
            Happening::Reload => Some(Input::Reload),
            Happening::Fork => Some(Input::Fork { id: self.fleet.ids.next() }),
            Happening::Checked(fit) => Some(Input::Checked(fit.then_some(()).ok_or("unfit".into()))),
            Happening::Ready(n) => one(self, n).map(|id| Input::Ready { id }),
            Happening::Proven(n) => one(self, n).map(|id| Input::Proven { id }),
            Happening::Births(succeed) => {
                self.births(succeed);
                None
            }
            Happening::Dies(n, status) => one(self, n).map(|id| Input::Exited { id, status }),
            Happening::Closes(n) => one(self, n).map(|id| Input::Closed { id }),
            Happening::Leaves(n, voluntary) => one(self, n).map(|id| Input::Leave { id, voluntary }),
            Happening::Signalled(n, signal) => one(self, n).map(|id| Input::Kill { id, signal }),
            Happening::NoPreload => {
                let generation = self.fleet.reloading().unwrap_or(0);
                Some(Input::Barren { generation, why: String::new() })
            }
            Happening::Later(ms) => {
                self.now += Duration::from_millis(ms);
                Some(Input::Tick)
            }
            Happening::Execs(succeed) => {
                self.execs = succeed;
                None
            }
            Happening::TakesOver(takes_over) => {
                self.takes_over = takes_over;
                None
            }
            Happening::Workers(workers) => {
                self.next_workers = workers;
                None
            }
        };
        if let Some(input) = input {
            self.tell(input);
        }
    }

    fn is_calm(&self) -> bool {
        let filled = self.fleet.slots.iter().all(|slot| slot.refill_at.is_none());
        let done = self.fleet.reloading().is_none() && !self.fleet.reloads.wanted;
        let serves = self.ready() == self.fleet.members().count();
        filled && done && self.fleet.upgrades.under_way.is_none() && serves
    }

    /// Everybody behaves from now on: who is to go goes, and who is to come comes.
    fn settle(&mut self) {
        for _ in 0..200 {
            if self.is_calm() {
                return;
            }
            self.births(true);
            self.tell(Input::Checked(Ok(())));
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
        6 => Just(Happening::Upgrade),
        1 => Just(Happening::Reload),
        1 => Just(Happening::Fork),
        5 => prop::bool::weighted(0.9).prop_map(Happening::Checked),
        10 => who.clone().prop_map(Happening::Ready),
        2 => who.clone().prop_map(Happening::Proven),
        6 => prop::bool::weighted(0.9).prop_map(Happening::Births),
        5 => (who.clone(), status()).prop_map(|(who, status)| Happening::Dies(who, status)),
        1 => who.clone().prop_map(Happening::Closes),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, voluntary)| Happening::Leaves(who, voluntary)),
        1 => (who, prop_oneof![Just(Signal::KILL), Just(Signal::TERM), Just(Signal::USR1)])
            .prop_map(|(who, signal)| Happening::Signalled(who, signal)),
        1 => Just(Happening::NoPreload),
        4 => (0..8000u64).prop_map(Happening::Later),
        1 => prop::bool::weighted(0.7).prop_map(Happening::Execs),
        1 => prop::bool::weighted(0.7).prop_map(Happening::TakesOver),
        1 => (1..6usize).prop_map(Happening::Workers),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, through whatever images: each wish has one outcome, no number is used twice, and it all ends.
    #[test]
    fn every_upgrade_ends_once(
        workers in 1..5usize,
        surge in 1..4usize,
        slow in any::<bool>(),
        happenings in prop::collection::vec(anything(), 0..100),
    ) {
        let mut world = World::new(workers, surge, slow);
        happenings.into_iter().for_each(|happening| world.happen(happening));
        world.settle();
        prop_assert!(world.is_calm(), "it goes on for ever: {:?}", world.fleet);
        prop_assert_eq!(world.upgraded.len(), world.wishes);
        let members = world.fleet.members().count();
        prop_assert_eq!(members, world.fleet.slots.iter().filter(|slot| slot.holder.is_some()).count());
    }

    /// After any storm an upgrade to a program that is well succeeds: it alone runs, with as many workers as it wants.
    #[test]
    fn a_good_program_takes_over(
        workers in 1..5usize,
        surge in 1..4usize,
        slow in any::<bool>(),
        before in prop::collection::vec(anything(), 0..60),
        wanted in 1..6usize,
    ) {
        let mut world = World::new(workers, surge, slow);
        before.into_iter().for_each(|happening| world.happen(happening));
        (world.execs, world.takes_over) = (true, true);
        world.settle();
        prop_assume!(!world.fleet.is_over());
        world.next_workers = wanted;
        let (images, changed, had) = (world.images, wanted != world.workers, world.ready());
        world.tell(Input::Upgrade);
        world.settle();
        let last = world.upgraded.last().expect("an outcome");
        prop_assert!(last.result().is_ok(), "everybody behaved: {:?}", last);
        prop_assert_eq!(world.images, images + 1);
        prop_assert_eq!(world.fleet.generation(), last.generation());
        prop_assert!(world.fleet.members().all(|(_, member)| member.generation == last.generation()));
        prop_assert_eq!(world.ready(), if changed { wanted } else { had });
    }

    /// A program whose workers fail leaves nothing behind: the one before runs, and all workers are of it.
    #[test]
    fn a_bad_program_leaves_nothing(
        workers in 1..5usize,
        surge in 1..4usize,
        slow in any::<bool>(),
        good in 0..3usize,
        how in 0..3u8,
    ) {
        let mut world = World::new(workers, surge, slow);
        world.takes_over = how != 0;
        world.next_workers = workers + 1;
        world.tell(Input::Upgrade);
        world.tell(Input::Checked(Ok(())));
        for _ in 0..good {
            world.births(true);
            let unready = |world: &World| world.ids().into_iter().find(|id| world.is_new_and_unready(*id));
            if let Some(id) = unready(&world) {
                world.tell(Input::Ready { id });
            }
        }
        world.births(true);
        let coming = world.ids().into_iter().find(|id| world.is_new_and_unready(*id));
        match (how, coming) {
            (1, Some(id)) => world.tell(Input::Exited { id, status: ExitStatus::Code(1) }),
            (2, _) => world.happen(Happening::NoPreload),
            _ => {}
        }
        let failed = how == 0 || how == 2 || coming.is_some();
        prop_assert!(world.ready() >= workers, "{} of {workers} are ready", world.ready());
        world.settle();
        let last = world.upgraded.last().expect("an outcome");
        prop_assert_eq!(last.result().is_err(), failed, "{:?}", last);
        let generation = if failed { 1 } else { last.generation() };
        prop_assert_eq!(world.fleet.generation(), generation);
        prop_assert!(world.fleet.members().all(|(_, member)| member.generation == generation));
        prop_assert_eq!(world.ready(), if failed { workers } else { workers + 1 });
    }

    /// However an upgrade goes, it takes away nobody who is ready but for one who is: only those are missing that have died
    /// of themselves.
    #[test]
    fn as_many_are_ready_as_ever(
        workers in 1..6usize,
        surge in 1..4usize,
        slow in any::<bool>(),
        happenings in prop::collection::vec((0..9u8, 0..32usize), 0..150),
    ) {
        let mut world = World::new(workers, surge, slow);
        for (what, who) in happenings {
            match (what, world.nth(who)) {
                (0, _) => world.tell(Input::Upgrade),
                (1, _) => world.tell(Input::Checked(Ok(()))),
                (2, Some(id)) if world.told.contains(&id) => {
                    world.tell(Input::Exited { id, status: ExitStatus::Code(0) });
                }
                // Who comes may fail, and so may who is ready.
                (3, Some(id)) if who < 4 => world.tell(Input::Exited { id, status: ExitStatus::Code(1) }),
                (4, _) => world.births(who % 5 != 0),
                (5, _) => world.takes_over = who % 3 != 0,
                (6, _) => world.execs = who % 3 != 0,
                (_, Some(id)) => world.tell(Input::Ready { id }),
                _ => {}
            }
            let least = workers.saturating_sub(world.lost);
            prop_assert!(world.ready() >= least, "{} of {least} are ready", world.ready());
        }
    }

    /// A stop wins: from then on nothing is executed and nobody born, every outcome is there, and the cluster ends.
    #[test]
    fn a_stop_wins(
        workers in 1..5usize,
        surge in 1..4usize,
        slow in any::<bool>(),
        happenings in prop::collection::vec(anything(), 0..60),
        later in prop::collection::vec(anything(), 0..30),
        now in any::<bool>(),
    ) {
        let mut world = World::new(workers, surge, slow);
        happenings.into_iter().for_each(|happening| world.happen(happening));
        world.tell(if now { Input::StopNow { signal: Signal::QUIT } } else { Input::Stop { signal: None } });
        prop_assert_eq!(world.upgraded.len(), world.wishes);
        let images = world.images;
        later.into_iter().for_each(|happening| world.happen(happening));
        prop_assert_eq!(world.upgraded.len(), world.wishes, "each is refused at once");
        prop_assert_eq!(world.images, images);
        world.settle();
        prop_assert!(world.fleet.is_over());
    }
}

impl World {
    fn is_new_and_unready(&self, id: Id) -> bool {
        let new = |member: &Member| member.generation > 1 && member.exists && member.ready().is_none();
        self.fleet.member(id).is_some_and(new) && !self.told.contains(&id)
    }
}
