//! The fleet's policy, whatever comes in whatever order: what holds of it always. And a worker's states, one by one.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::leave::LAST_GRACE;
use super::*;
use crate::event::State;

const SECOND: Duration = Duration::from_secs(1);
const DRAIN: Duration = Duration::from_secs(5);
const STARTUP: Duration = Duration::from_secs(10);

/// What may come, about the `n`th of those who are there: some of it never would, and none of it may do harm.
#[derive(Clone, Debug)]
enum Blow {
    Fork,
    Born(usize),
    Unborn(usize),
    Online(usize),
    Ready(usize),
    Proven(usize),
    Leave(usize, bool),
    Disconnect(usize),
    Closed(usize),
    Dies(usize, ExitStatus),
    Kill(usize, Signal),
    Wait(u64),
    Stop(Option<Signal>),
    StopNow,
}

fn blow() -> impl Strategy<Value = Blow> {
    use Blow::*;
    let one = || 0..12usize;
    let end = || {
        let ends =
            [ExitStatus::Code(0), ExitStatus::Code(1), ExitStatus::Signal(Signal::KILL), ExitStatus::Unknown];
        prop::sample::select(ends.to_vec())
    };
    let signal = || prop::sample::select(vec![Signal::TERM, Signal::KILL, Signal::USR1]);
    prop_oneof![
        3 => Just(Fork),
        12 => one().prop_map(Born),
        2 => one().prop_map(Unborn),
        8 => one().prop_map(Online),
        8 => one().prop_map(Ready),
        2 => one().prop_map(Proven),
        3 => (one(), any::<bool>()).prop_map(|(n, voluntary)| Leave(n, voluntary)),
        3 => one().prop_map(Disconnect),
        4 => one().prop_map(Closed),
        8 => (one(), end()).prop_map(|(n, status)| Dies(n, status)),
        3 => (one(), signal()).prop_map(|(n, signal)| Kill(n, signal)),
        4 => (0..20_000u64).prop_map(Wait),
        1 => prop::option::of(Just(Signal::TERM)).prop_map(Stop),
        1 => Just(StopNow),
    ]
}

/// What a listener has heard of one worker.
#[derive(Debug, Default)]
struct Life {
    told: Vec<&'static str>,
    killed: bool,
    state: State,
}

/// A fleet under blows, and what follows from them.
struct Storm {
    fleet: Fleet,
    now: Instant,
    lives: BTreeMap<Id, Life>,
    forks: usize,
    births: usize,
    ends: usize,
    workers: usize,
}

impl Storm {
    fn new(workers: usize, pre_drain: Duration) -> Storm {
        let rules = Rules { startup_timeout: STARTUP, drain_timeout: DRAIN, pre_drain, ..Rules::usual() };
        let fleet = Fleet::new(rules, Ids::default());
        let (lives, now) = (BTreeMap::new(), Instant::now());
        let mut storm = Storm { fleet, now, lives, forks: 0, births: 0, ends: 0, workers };
        storm.tell(Input::Start { workers });
        storm
    }

    fn tell(&mut self, input: Input) {
        let stopping = self.fleet.is_stopping();
        let effects = self.fleet.step(input, self.now);
        for effect in effects {
            match effect {
                Effect::Spawn { .. } => {
                    assert!(!stopping, "a birth in a cluster that stops");
                    self.births += 1;
                }
                Effect::Signal { id, signal } => {
                    assert!(self.exists(id), "a signal to a process that there is not");
                    self.lives.entry(id).or_default().killed |= signal == Signal::KILL;
                }
                Effect::Drain { id } | Effect::Foretell { id } => {
                    assert!(self.exists(id), "a word to a process that there is not");
                }
                Effect::Publish(event) => self.hear(event),
                Effect::StopListening => assert!(!stopping, "closed twice"),
                Effect::Throttled { .. }
                | Effect::Reloading { .. }
                | Effect::Reloaded(_)
                | Effect::Found(..) => {}
                Effect::Recycling { .. } | Effect::NotRecycled { .. } | Effect::Scaled { .. } => {}
                other => panic!("nobody asked for an upgrade: {other:?}"),
            }
        }
        self.holds();
    }

    fn hear(&mut self, event: Event) {
        let (id, name) = match event {
            Event::Fork(id) => (id, "fork"),
            Event::Online(id) => (id, "online"),
            Event::Disconnect(id) => (id, "disconnect"),
            Event::Exit(id, _) => (id, "exit"),
        };
        self.lives.entry(id).or_default().told.push(name);
    }

    /// Always.
    fn holds(&mut self) {
        let mut slots = BTreeSet::new();
        for (id, member) in self.fleet.members() {
            assert!(slots.insert(member.slot), "slot {} has two holders", member.slot);
            let life = self.lives.entry(id).or_default();
            assert!(life.state <= member.state(), "from {:?} back to {:?}", life.state, member.state());
            life.state = member.state();
        }
        let most = self.workers + self.forks;
        assert!(slots.iter().all(|slot| *slot < most), "{slots:?} of {most}");
        assert!(self.births <= self.workers + self.forks + self.ends, "more births than ends made room for");
        for (id, life) in &self.lives {
            let order = ["fork", "online", "disconnect", "exit"];
            let mut rest = order.iter();
            assert!(life.told.iter().all(|name| rest.any(|next| next == name)), "{id:?}: {:?}", life.told);
            let early = !life.told.is_empty() && life.told[0] != "fork";
            assert!(!early, "{id:?}: {:?}", life.told);
        }
    }

    fn exists(&self, id: Id) -> bool {
        self.fleet.member(id).is_some_and(|member| member.exists)
    }

    /// As the loop does it: the end of the channel is told of first.
    fn dies(&mut self, id: Id, status: ExitStatus) {
        self.ends += 1;
        if self.exists(id) {
            self.tell(Input::Closed { id });
            self.tell(Input::Exited { id, status });
        } else {
            self.tell(Input::Unborn { id });
        }
    }

    fn strike(&mut self, blow: Blow) {
        let living: Vec<Id> = self.fleet.members().map(|(id, _)| id).collect();
        // One who is not there any more, now and then.
        let one = |n: usize| living.get(n).copied().unwrap_or(Id(n as u64));
        match blow {
            Blow::Fork => {
                self.forks += 1;
                let id = self.fleet.ids.next();
                self.tell(Input::Fork { id });
            }
            Blow::Born(n) => self.tell(Input::Born { id: one(n) }),
            Blow::Unborn(n) if self.exists(one(n)) => {}
            Blow::Unborn(n) => self.dies(one(n), ExitStatus::Unknown),
            Blow::Online(n) => self.tell(Input::Online { id: one(n) }),
            Blow::Ready(n) => self.tell(Input::Ready { id: one(n) }),
            Blow::Proven(n) => self.tell(Input::Proven { id: one(n) }),
            Blow::Leave(n, voluntary) => self.tell(Input::Leave { id: one(n), voluntary }),
            Blow::Disconnect(n) => self.tell(Input::Disconnect { id: one(n) }),
            Blow::Closed(n) => self.tell(Input::Closed { id: one(n) }),
            Blow::Dies(n, status) => self.dies(one(n), status),
            Blow::Kill(n, signal) => self.tell(Input::Kill { id: one(n), signal }),
            Blow::Wait(ms) => {
                self.now += Duration::from_millis(ms);
                self.tell(Input::Tick);
            }
            Blow::Stop(signal) => self.tell(Input::Stop { signal }),
            Blow::StopNow => self.tell(Input::StopNow { signal: Signal::QUIT }),
        }
    }

    /// A stop ends, whatever was before: who does not go by himself is killed when his time is over.
    fn ends(mut self) {
        self.tell(Input::Stop { signal: None });
        // Nobody drains before it, and workers that die are replaced meanwhile.
        self.now += self.fleet.rules.pre_drain;
        self.tell(Input::Tick);
        assert!(self.fleet.is_stopping());
        let births = self.births;
        self.now += DRAIN + LAST_GRACE;
        self.tell(Input::Tick);
        for (id, exists) in self.fleet.members().map(|(id, m)| (id, m.exists)).collect::<Vec<_>>() {
            assert!(!exists || self.lives[&id].killed, "{id:?} has outlived its time");
            self.dies(id, ExitStatus::Signal(Signal::KILL));
        }
        assert!(self.fleet.is_over() && self.births == births);
        assert!(self.fleet.deadline().is_none(), "a time that nobody waits for");
        for (id, life) in &self.lives {
            let born = life.told.first() == Some(&"fork");
            assert!(!born || life.told.ends_with(&["disconnect", "exit"]), "{id:?}: {:?}", life.told);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    /// Mutation: publish `online` of one that was not born; refill the slot of one that lives; let a stop pass over an
    /// unborn; forget to clear `refill_at` at a stop.
    #[test]
    fn whatever_comes_each_event_comes_once_and_a_stop_ends(
        workers in 1..4usize,
        pre_drain in 0..2u32,
        blows in prop::collection::vec(blow(), 0..80),
    ) {
        let mut storm = Storm::new(workers, pre_drain * 8 * SECOND);
        for blow in blows {
            storm.strike(blow);
        }
        storm.ends();
    }
}

/// Each state, and each way into it. Mutation: any line of `Member::state`.
#[test]
fn n03_states_and_what_brings_them() {
    let id = Id(1);
    let online = || vec![Input::Born { id }, Input::Online { id }];
    let then = |before: Vec<Input>, last| before.into_iter().chain([last]).collect::<Vec<_>>();
    let ready = || then(online(), Input::Ready { id });
    let leave = |voluntary| Input::Leave { id, voluntary };
    let kill = |signal| Input::Kill { id, signal };
    let table = [
        (vec![], State::None),
        (vec![Input::Born { id }], State::None),
        (online(), State::Online),
        (ready(), State::Listening),
        (then(ready(), Input::Online { id }), State::Listening),
        (then(ready(), leave(true)), State::Disconnecting),
        (then(ready(), leave(false)), State::Disconnecting),
        (then(ready(), Input::Disconnect { id }), State::Disconnecting),
        (then(ready(), Input::Stop { signal: None }), State::Disconnecting),
        (then(ready(), Input::StopNow { signal: Signal::QUIT }), State::Disconnecting),
        (then(ready(), kill(Signal::TERM)), State::Disconnecting),
        // A signal is not an order: it is dead when it is.
        (then(ready(), kill(Signal::KILL)), State::Listening),
        (then(ready(), kill(Signal::USR1)), State::Listening),
        // Told before it was born, or had said anything: it does not come back from there.
        (vec![Input::Disconnect { id }], State::Disconnecting),
        (vec![Input::Disconnect { id }, Input::Born { id }], State::Disconnecting),
        (vec![Input::Disconnect { id }, Input::Born { id }, Input::Online { id }], State::Disconnecting),
        (vec![kill(Signal::KILL)], State::Disconnecting),
        (then(online(), Input::Closed { id }), State::Disconnected),
        (then(ready(), Input::Closed { id }), State::Disconnected),
        (then(then(ready(), Input::Closed { id }), Input::Disconnect { id }), State::Disconnected),
        (then(ready(), Input::Exited { id, status: ExitStatus::Code(0) }), State::Dead),
        (vec![Input::Unborn { id }], State::Dead),
    ];
    for (inputs, state) in table {
        let mut storm = Storm::new(1, Duration::ZERO);
        let told = format!("{inputs:?}");
        for input in inputs {
            let _ = storm.fleet.step(input, storm.now);
        }
        let is = storm.fleet.member(id).map_or(State::Dead, Member::state);
        assert_eq!(is, state, "{told}");
    }
}
