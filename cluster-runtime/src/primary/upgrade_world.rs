//! A fleet that is upgraded again and again, and what holds of it at every moment.

use std::collections::BTreeSet;

use super::super::super::heart::Sign;
use super::super::super::saved;
use super::super::super::step::{Ids, Input, Phase, Rules};
use super::*;
use crate::event::{ExitStatus, Signal};
use crate::ipc::message::{LaneId, Wear};

const SECOND: Duration = Duration::from_secs(1);

/// Something happens; to a member, by its number among those there are.
#[derive(Clone, Debug)]
pub(super) enum Happening {
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
    Worn(usize),
    Scale(usize),
    /// A sign of life of its lane; or that the lane is gone.
    Beats(usize),
    Still(usize),
    Disconnected(usize),
    /// By a signal, or not.
    Stop(bool),
}

/// A fleet through all its images, the processes that it believes in, and what it was asked and has answered.
pub(super) struct World {
    pub(super) fleet: Fleet,
    now: Instant,
    rules: Rules,
    /// Births take a while, as with a nursery; else they happen at once.
    slow: bool,
    unborn: BTreeSet<Id>,
    killed: BTreeSet<Id>,
    pub(super) told: BTreeSet<Id>,
    pub(super) execs: bool,
    pub(super) takes_over: bool,
    /// What is configured here, in the next image, and in the one before this.
    pub(super) workers: usize,
    pub(super) next_workers: usize,
    workers_before: usize,
    pub(super) wishes: usize,
    pub(super) upgraded: Vec<Upgrade>,
    pub(super) images: usize,
    numbers: BTreeSet<u64>,
    stopped: bool,
    /// Ready ones that have gone unasked.
    pub(super) lost: usize,
    /// Those of which signs of life are to be heard.
    beating: BTreeSet<Id>,
    failed: BTreeSet<u64>,
    returned: bool,
}

impl World {
    pub(super) fn new(workers: usize, surge: usize, slow: bool) -> World {
        World::ruled(workers, slow, Rules { max_restarts: u32::MAX, max_surge: surge, ..Rules::usual() })
    }

    pub(super) fn ruled(workers: usize, slow: bool, rules: Rules) -> World {
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
            beating: BTreeSet::new(),
            failed: BTreeSet::new(),
            returned: false,
        };
        world.tell(Input::Start { workers });
        world.births(true);
        for id in world.ids() {
            world.tell(Input::Ready { id });
            world.tell(Input::Proven { id });
        }
        world
    }

    pub(super) fn ids(&self) -> Vec<Id> {
        self.fleet.members().map(|(id, _)| id).collect()
    }

    /// Of those that exist.
    pub(super) fn nth(&self, number: usize) -> Option<Id> {
        let ids: Vec<_> = self.fleet.members().filter(|(_, m)| m.exists).map(|(id, _)| id).collect();
        (!ids.is_empty()).then(|| ids[number % ids.len()])
    }

    pub(super) fn ready(&self) -> usize {
        let serves =
            |member: &Member| member.connected && member.ready().is_some() && !member.life.is_leaving();
        self.fleet.members().filter(|(_, member)| serves(member)).count()
    }

    /// Steps, and does what is asked, as the loop does; looks at everything that must hold.
    pub(super) fn tell(&mut self, input: Input) {
        self.step(input);
        again(&self.fleet.save(self.now));
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
        let saved = self.fleet.save(self.now);
        let read = again(&saved);
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
        self.returned = back || !goes_on;
        let rules = self.rules.clone();
        let (ids, workers) = (Ids::default(), self.workers);
        self.fleet = Fleet::restore(&read, rules, ids, workers, refused, self.now).unwrap();
        if goes_on {
            assert_eq!(self.fleet.save(self.now), saved, "what was saved is not what there is");
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
                        let wanted = [Some(self.fleet.generation()), self.fleet.reloading()];
                        assert!(
                            wanted.contains(&Some(generation))
                                || self.failed.contains(&generation) && !self.returned,
                            "a birth of generation {generation}: {wanted:?}"
                        );
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
                        if outcome.result().is_err() {
                            self.failed.insert(outcome.generation());
                        }
                    }
                    Effect::Upgraded(outcome) => {
                        assert!(self.numbers.insert(outcome.generation()), "{outcome:?}: used before");
                        let another = self.workers != self.workers_before;
                        if another && outcome.result().is_ok() && self.fleet.phase == Phase::Running {
                            assert_eq!(
                                self.fleet.target(),
                                self.workers,
                                "another number than was configured"
                            );
                        }
                        self.upgraded.push(outcome);
                    }
                    Effect::Check => assert!(!self.fleet.is_told_to_stop()),
                    Effect::Exec | Effect::GoBack { .. } => panic!("asked for in the middle of a turn"),
                    Effect::Retire { .. } => {
                        let unborn = std::mem::take(&mut self.unborn);
                        todo.extend(unborn.into_iter().map(|id| Input::Unborn { id }));
                    }
                    Effect::Foretell { .. }
                    | Effect::Found(..)
                    | Effect::Recycling { .. }
                    | Effect::NotRecycled { .. }
                    | Effect::Scaled { .. }
                    | Effect::Signal { .. }
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
            assert!(self.fleet.reloads.coming.len() <= self.fleet.rules.max_surge, "{running:?}");
        }
        let coming = &self.fleet.reloads.coming;
        assert!(coming.len() <= self.fleet.rules.max_surge, "{coming:?}");
        for (slot, id) in coming {
            let member = self.fleet.member(*id).expect("one that is coming");
            let generation = self.fleet.reloading().unwrap_or(self.fleet.generation());
            assert_eq!((member.slot, member.generation), (*slot, generation));
            assert_ne!(self.fleet.slots[*slot].holder, Some(*id), "it holds its slot only when it is ready");
        }
        for (id, member) in self.fleet.members() {
            let holds = self.fleet.slots[member.slot].holder == Some(id);
            let comes = coming.values().any(|coming| *coming == id);
            assert!(
                holds || comes || member.asked,
                "worker {id:?} has no place, and nobody has told it to go"
            );
            let heard = !member.is_up() || self.fleet.last_beat(id, self.now).is_some();
            assert!(heard || !self.beating.contains(&id), "worker {id:?} was heard, and nobody listens");
        }
        if self.fleet.phase == Phase::Running {
            let places = (0..self.fleet.slots.len()).filter(|slot| self.fleet.is_filled(*slot));
            assert_eq!(self.fleet.target(), places.count());
        }
    }

    pub(super) fn births(&mut self, succeed: bool) {
        for id in std::mem::take(&mut self.unborn) {
            self.tell(if succeed { Input::Born { id } } else { Input::Unborn { id } });
        }
    }

    pub(super) fn happen(&mut self, happening: Happening) {
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
                self.turn();
                None
            }
            Happening::Worn(n) => one(self, n).map(|id| Input::Worn { id, why: Wear::Requests(1) }),
            Happening::Scale(workers) => Some(Input::Scale { workers }),
            Happening::Beats(n) => one(self, n).map(|id| self.beat(id)),
            Happening::Still(n) => one(self, n).map(|id| {
                self.beating.remove(&id);
                Input::Sign(id, Sign::Over { lane: Some(LaneId(id.0)) })
            }),
            Happening::Disconnected(n) => one(self, n).map(|id| Input::Disconnect { id }),
            Happening::Stop(signal) => Some(Input::Stop { signal: signal.then_some(Signal::TERM) }),
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

    fn beat(&mut self, id: Id) -> Input {
        if self.fleet.rules.heartbeat.is_some()
            && self.fleet.member(id).is_some_and(|member| !member.life.is_leaving())
        {
            self.beating.insert(id);
        }
        Input::Sign(id, Sign::Beat { lane: Some(LaneId(id.0)), every: SECOND })
    }

    /// The end of one of the loop's turns.
    fn turn(&mut self) {
        self.fleet.attend(self.now);
        if self.fleet.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.tell(Input::Tick);
            let deadline = self.fleet.deadline();
            assert!(deadline.is_none_or(|deadline| deadline > self.now), "it spins: {:?}", self.fleet);
        }
    }

    pub(super) fn is_calm(&self) -> bool {
        let filled = self.fleet.slots.iter().all(|slot| slot.refill_at.is_none());
        let done = self.fleet.reloading().is_none() && !self.fleet.reloads.wanted;
        let serves = self.ready() == self.fleet.members().count();
        let worn = self.fleet.members().any(|(_, member)| member.worn.is_some());
        let ended = self.fleet.is_told_to_stop() && self.fleet.is_over();
        let done = done && (!worn && !self.fleet.is_told_to_stop() || ended);
        filled && done && self.fleet.upgrades.under_way.is_none() && serves
    }

    /// Everybody behaves from now on: who is to go goes, and who is to come comes.
    pub(super) fn settle(&mut self) {
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
                    if self.beating.contains(&id) {
                        let beat = self.beat(id);
                        self.tell(beat);
                    }
                }
            }
            self.now += SECOND;
            self.turn();
        }
    }

    pub(super) fn is_new_and_unready(&self, id: Id) -> bool {
        let new = |member: &Member| member.generation > 1 && member.exists && member.ready().is_none();
        self.fleet.member(id).is_some_and(new) && !self.told.contains(&id)
    }
}

/// Written and read, which yields what there was.
fn again(fleet: &saved::Fleet) -> saved::Fleet {
    let bytes = rmp_serde::to_vec_named(fleet).unwrap();
    let read: saved::Fleet = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(rmp_serde::to_vec_named(&read).unwrap(), bytes);
    read
}
