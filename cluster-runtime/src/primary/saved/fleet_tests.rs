//! The saved fleet: what is in it, and what may not be.

use super::*;
use crate::event::{ExitStatus, Reason, Signal};
use crate::ipc::message::{LaneId, Wear};
use crate::primary::step::Input;

const SECOND: Duration = Duration::from_secs(1);

/// A fleet in which everything occurs.
pub(in super::super) fn sample() -> Fleet {
    let lives = [
        Life::Unborn,
        Life::Starting { ready_by: Due::In(9 * SECOND) },
        Life::Online { ready_by: Due::Since(Duration::from_nanos(5)) },
        Life::Ready { ready: 70 * SECOND },
        Life::Draining { kill_at: Due::In(SECOND), ready: Some(SECOND), told: true },
        Life::Draining { kill_at: Due::In(SECOND), ready: None, told: false },
        Life::Killed { ready: Some(SECOND), overdue: false },
    ];
    let member = |(at, life): (usize, &Life)| Member {
        id: 11 + at as u64,
        slot: at.min(4),
        generation: 1 + at as u64 % 3,
        life: *life,
        age: Duration::new(80, 123_456_789),
        exists: at != 0,
        asked: at == 4,
        replaced: at == 5,
        online: at > 1,
        connected: at != 5,
        proven: at == 3,
        first: at == 6,
        stalled: at == 6,
        said: if at == 5 { "error: what it said last".into() } else { String::new() },
        worn: (at == 3).then_some((SECOND / 2, Wear::Requests(1 << 40))),
    };
    let members: Vec<_> = lives.iter().enumerate().map(member).collect();
    let mut slots: Vec<_> = (0..5)
        .map(|at| Slot { holder: Some(11 + at), refill: None, streak: at as u32, recycle: None })
        .collect();
    slots.push(Slot { holder: None, refill: Some(Due::In(SECOND / 3)), streak: u32::MAX, recycle: None });
    slots[3].recycle = Some(Due::In(SECOND / 5));
    Fleet {
        last_id: 20,
        slots,
        members,
        deaths: vec![3 * SECOND, SECOND],
        generation: 2,
        last_generation: 5,
        reload_wanted: true,
        has_served: true,
        nobody_left: Some((&exit(ExitStatus::Code(3))).into()),
        upgrade: Some(Upgrade {
            generation: 5,
            took: SECOND / 7,
            failed: Some(
                (&UpgradeFailure::Worker { id: 9, exit: exit(ExitStatus::Signal(Signal::SEGV)) }).into(),
            ),
        }),
        workers: Some(4),
        hearts: vec![SavedHeart {
            worker: 14,
            lanes: vec![(LaneId(3), 60 * SECOND), (LaneId(4), 90 * SECOND)],
            own: Some(60 * SECOND),
        }],
    }
}

impl Fleet {
    /// Without what came later.
    pub(in super::super) fn of_version_1(self) -> Fleet {
        let member = |member: Member| Member { stalled: false, said: String::new(), worn: None, ..member };
        let slot = |slot: Slot| Slot { recycle: None, ..slot };
        let slots = self.slots.into_iter().map(slot).collect();
        let members = self.members.into_iter().map(member).collect();
        Fleet { workers: None, hearts: Vec::new(), slots, members, ..self }
    }
}

fn exit(status: ExitStatus) -> crate::event::Exit {
    crate::event::Exit {
        status,
        reason: Reason::TimedOut,
        asked: false,
        told: false,
        lived: 3 * SECOND,
        said: String::new(),
    }
}

pub(in super::super) fn restored(saved: &Fleet) -> Result<step::Fleet, String> {
    let rules = Rules { heartbeat: Some(60 * SECOND), ..Rules::usual() };
    step::Fleet::restore(saved, rules, Ids::default(), 4, None, Instant::now())
}

#[test]
fn p103_what_was_saved_is_what_there_is() {
    let now = Instant::now();
    for failed in [None, sample().upgrade.unwrap().failed] {
        let upgrade = Some(Upgrade { failed, ..sample().upgrade.unwrap() });
        let saved = Fleet { upgrade, ..sample() };
        let rules = restored(&saved).unwrap().rules;
        let fleet = step::Fleet::restore(&saved, rules, Ids::default(), 4, None, now).unwrap();
        assert_eq!(fleet.save(now), saved);
        assert_eq!(fleet.members().count(), saved.members.len());
    }
}

#[test]
fn each_reason_has_a_word() {
    let reasons = [
        Reason::Asked,
        Reason::Replaced,
        Reason::Finished,
        Reason::Failed,
        Reason::NotStarted,
        Reason::Killed,
        Reason::TimedOut,
    ];
    for reason in reasons {
        for status in [ExitStatus::Code(-1), ExitStatus::Signal(Signal::KILL), ExitStatus::Unknown] {
            let exit = crate::event::Exit { reason, ..exit(status) };
            assert_eq!(crate::event::Exit::from(&Exit::from(&exit)), exit);
        }
    }
}

#[test]
fn failures_are_told_on_the_other_side_as_they_were() {
    let failures = [
        UpgradeFailure::Worker { id: 3, exit: exit(ExitStatus::Code(1)) },
        UpgradeFailure::Preload("exited with status 3".into()),
        UpgradeFailure::Image("it can't".into()),
    ];
    for failure in failures {
        assert_eq!(UpgradeFailure::from(&words::Failure::from(&failure)), failure);
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    type Harm = fn(&mut Fleet);
    let harms: [(&str, Harm); 15] = [
        ("worker 0", |fleet| fleet.members[0].id = 0),
        ("worker 21 of 20", |fleet| fleet.members[0].id = 21),
        ("worker 12", |fleet| fleet.members[0].id = 12),
        ("slot 6 of 6", |fleet| fleet.members[0].slot = 6),
        ("generation 6 of 5", |fleet| fleet.members[0].generation = 6),
        ("slot 5 is held by 11", |fleet| fleet.slots[5].holder = Some(11)),
        ("slot 0 is held by 99", |fleet| fleet.slots[0].holder = Some(99)),
        ("generations 0", |fleet| fleet.generation = 0),
        ("generations 2 and 6", |fleet| fleet.upgrade.as_mut().unwrap().generation = 6),
        ("was given out", |fleet| fleet.last_id = u64::MAX),
        ("moment", |fleet| fleet.members[3].age = Duration::MAX),
        ("moment", |fleet| fleet.slots[5].refill = Some(Due::In(Duration::MAX))),
        ("moment", |fleet| fleet.hearts[0].own = Some(Duration::MAX)),
        ("signs of life of 99", |fleet| fleet.hearts[0].worker = 99),
        ("not that of an upgrade", |fleet| fleet.upgrade = None),
    ];
    assert!(restored(&sample()).is_ok());
    for (words, harm) in harms {
        let mut saved = sample();
        harm(&mut saved);
        let error = restored(&saved).expect_err(words);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_sample_lives() {
    let mut fleet = restored(&sample()).unwrap();
    let now = Instant::now() + 30 * SECOND;
    assert!(!fleet.step(Input::Resume, now).is_empty());
    assert!(!fleet.step(Input::Tick, now).is_empty());
}
