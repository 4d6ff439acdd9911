//! Health, as the board tells of it: when it is looked at, and what is made of that.

use super::*;
use crate::primary::step::{Ids, Input, Rules};

const SECOND: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(60);

/// Workers that are up, each with one lane and a word on the board, and a loop that does nothing else.
struct World {
    fleet: Fleet,
    now: Instant,
    turns: usize,
    /// Up to when each beats, every ten seconds.
    beats: Vec<(Id, Instant)>,
    findings: Vec<(Id, Finding)>,
}

impl World {
    fn serving(workers: u64) -> World {
        let rules = Rules { heartbeat: Some(WITHIN), drain_timeout: 30 * SECOND, ..Rules::usual() };
        let mut fleet = Fleet::new(rules, Ids::default());
        let now = Instant::now();
        drop(fleet.step(Input::Start { workers: workers as usize }, now));
        let for_ever = now + 10_000 * SECOND;
        let mut beats = Vec::new();
        for id in (1..=workers).map(Id) {
            for input in [Input::Born { id }, Input::Online { id }, Input::Ready { id }] {
                drop(fleet.step(input, now));
            }
            let sign = Sign::Beat { lane: Some(LaneId(id.0)), every: 10 * SECOND };
            drop(fleet.step(Input::Sign(id, sign), now));
            beats.push((id, for_ever));
        }
        World { fleet, now, turns: 0, beats, findings: Vec::new() }
    }

    /// What stands on the board now: each beats at a time of its own.
    fn board(&self) -> Vec<(Id, Option<LaneId>, Duration)> {
        let beat = |(id, until): &(Id, Instant)| {
            let ago = Duration::from_secs(id.0 % 10) + self.now.saturating_duration_since(*until);
            (*id, Some(LaneId(id.0)), ago)
        };
        self.beats.iter().map(beat).collect()
    }

    fn note(&mut self, effects: Vec<Effect>) {
        self.findings.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Found(id, finding) => Some((id, finding)),
            _ => None,
        }));
    }

    fn turn(&mut self) {
        self.turns += 1;
        self.fleet.attend(self.now);
        if self.fleet.is_to_look(&self.fleet.silent(), self.now) {
            let effects = self.fleet.look(self.board(), self.now);
            self.note(effects);
        }
        if self.fleet.deadline().is_some_and(|deadline| deadline <= self.now) {
            let effects = self.fleet.step(Input::Tick, self.now);
            self.note(effects);
        }
    }

    fn run(&mut self, seconds: u32) {
        let end = self.now + SECOND * seconds;
        while let Some(deadline) = self.fleet.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.turn();
        }
        self.now = end;
        self.turn();
    }
}

/// Mutation: look only when somebody is to be judged; take a turn for each worker.
#[test]
fn p32_the_board_is_looked_at_five_times_in_the_time_however_many_beat_there() {
    for workers in [1, 200] {
        let mut world = World::serving(workers);
        world.run(600);
        assert_eq!(world.findings, []);
        assert!(world.turns <= 52, "{} turns in ten times the time", world.turns);
    }
}

/// Mutation: take the moment of the look for that of the beat.
#[test]
fn p32_who_stops_to_beat_is_judged_from_its_last_beat_on() {
    let mut world = World::serving(3);
    world.run(100);
    let (id, at) = (Id(2), world.now);
    world.beats[1].1 = at;
    world.run(26);
    assert_eq!(world.findings, [], "it was two seconds ago");
    world.run(3);
    assert!(
        matches!(world.findings[..], [(found, Finding::Suspected { silent })] if found == id && silent >= WITHIN / 2)
    );
    // It goes on.
    world.beats[1].1 = at + 10_000 * SECOND;
    world.run(12);
    assert_eq!(world.findings[1..], [(id, Finding::Trusted)]);
    world.beats[1].1 = world.now;
    world.run(60);
    assert!(matches!(world.findings[3..], [(found, Finding::Stalled { .. })] if found == id));
}

/// Mutation: believe a moment that is to come, or one before this world; make a pulse of what nobody has told of.
#[test]
fn s16_whatever_a_beat_says_it_is_of_one_lane_that_is_known() {
    let mut world = World::serving(1);
    world.run(20);
    let known = |world: &World| world.fleet.hearts.hearts[&Id(1)].lanes.len();
    for (lane, ago) in [(Some(LaneId(99)), SECOND), (None, SECOND), (Some(LaneId(1)), Duration::MAX)] {
        let silent = world.fleet.last_beat(Id(1), world.now);
        let effects = world.fleet.look(vec![(Id(1), lane, ago), (Id(77), lane, ago)], world.now);
        assert_eq!((effects, known(&world)), (Vec::new(), 1));
        assert_eq!(world.fleet.last_beat(Id(1), world.now), silent);
    }
    assert!(!world.fleet.hearts.hearts.contains_key(&Id(77)));
}
