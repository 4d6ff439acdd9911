//! Upgrades that come to nothing, without a process.

use super::*;

#[test]
fn births_that_take_too_long_end_it() {
    let mut world = World::serving(1);
    world.slow = true;
    world.dies(1, KILLED);
    world.tell(Input::Upgrade);
    world.tell(Input::Checked(Ok(())));
    let effects = world.after(10 * SECOND);
    assert!(matches!(failed(&effects), UpgradeFailure::Busy(why) if why.contains("2 ")), "{effects:?}");
}

#[test]
fn p108_an_exec_that_fails_changes_nothing() {
    let mut world = World::serving(2);
    world.checked();
    assert_eq!(world.tell(Input::Quiet), [Effect::Exec]);
    assert!(!world.fleet.awaits_quiet(), "once");
    // Who died in that moment waits for it.
    assert_eq!(spawns(&world.dies(1, KILLED)), []);
    let effects = world.tell(Input::NotExeced("out of memory".into()));
    assert_eq!(failed(&effects), &UpgradeFailure::Exec("out of memory".into()));
    assert_eq!(spawns(&effects), [(3, 0, 1)]);
    assert_eq!(world.fleet.generation(), 1);
    assert_eq!(world.tell(Input::Upgrade), [Effect::Check]);
}

#[test]
fn p105_a_worker_that_fails_has_the_old_image_go_on() {
    let mut world = World::serving(2);
    world.upgraded();
    world.up(3);
    let effects = world.dies(4, CRASH);
    assert_eq!(effects.last(), Some(&Effect::Retire { generation: 2 }));
    assert!(!told(&effects), "it is the old image's to tell");
    assert_eq!(spawns(&effects), []);
    world.now += SECOND;
    let effects = world.goes_back();
    let Effect::Upgraded(Upgrade { generation: 2, took: SECOND, failure: Some(why) }) = &effects[0] else {
        panic!("{effects:?}");
    };
    assert!(matches!(why, UpgradeFailure::Worker { id: 4, exit } if exit.reason() == Reason::NotStarted));
    assert_eq!(effects[1], Effect::Returning { generation: 1 });
    // Worker 2 is of the old program, and stays; 3 is of the new one, and goes.
    assert_eq!(spawns(&effects), [(5, 0, 1)]);
    let effects = world.up(5);
    assert_eq!(drains(&effects), [3]);
    assert!(matches!(effects.last(), Some(Effect::Returned(Reload { generation: 1, failure: None, .. }))));
    assert_eq!((world.fleet.generation(), world.holders()), (1, vec![(5, 1), (2, 1)]));
    world.dies(3, DONE);
    world.dies(1, DONE);
    assert_eq!(world.tell(Input::Reload)[0], Effect::Reloading { generation: 3 });
}

/// Mutation: let the end of the upgrade ask for them, before they are of the generation in force.
#[test]
fn p105_who_dies_on_the_way_back_is_replaced_by_one_of_the_program_before() {
    let mut world = World::serving(2);
    world.upgraded();
    world.up(3);
    // Its place is to be filled again: by whom, is known only after the exec.
    assert_eq!(spawns(&world.dies(3, CRASH)), []);
    let effects = world.goes_back();
    let back = effects.iter().position(|effect| *effect == Effect::Returning { generation: 1 });
    let born = effects.iter().position(|effect| matches!(effect, Effect::Spawn { .. }));
    assert!(back.is_some() && back < born, "there is what it needs: {effects:?}");
    assert_eq!(spawns(&effects), [(5, 0, 1)], "once, and of the program that runs");
    world.up(5);
    world.dies(4, DONE);
    assert_eq!(world.holders(), [(5, 1), (2, 1)]);
}

#[test]
fn too_late_is_a_failure_too() {
    let mut world = World::serving(1);
    world.upgraded();
    let effects = world.after(10 * SECOND);
    assert_eq!(effects, [Effect::Signal { id: Id(2), signal: Signal::KILL }]);
    let effects = world.dies(2, KILLED);
    assert!(effects.contains(&Effect::Retire { generation: 2 }));
    let effects = world.goes_back();
    assert!(
        matches!(failed(&effects), UpgradeFailure::Worker { id: 2, exit } if exit.reason() == Reason::TimedOut)
    );
    // Nobody of the new program is left: there is nothing to put back.
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Returned(Reload { failure: None, .. }))));
}

#[test]
fn a_preload_that_fails_and_births_that_are_never_answered() {
    let mut world = World::serving(1);
    world.checked();
    world.tell(Input::Quiet);
    world.slow = true;
    world.becomes(1, None);
    let effects = world.tell(Input::Barren { generation: 2, why: "exited with status 3".into() });
    assert!(effects.contains(&Effect::Retire { generation: 2 }));
    assert!(!world.fleet.awaits_quiet(), "worker 2 may be being born");
    assert_eq!(world.after(10 * SECOND), []);
    world.slow = false;
    let effects = world.goes_back();
    assert_eq!(failed(&effects), &UpgradeFailure::Preload("exited with status 3".into()));
    assert_eq!((world.holders(), world.fleet.members().count()), (vec![(1, 1)], 1));
}

#[test]
fn an_image_that_does_not_take_over_is_one_that_failed() {
    let mut world = World::serving(2);
    world.checked();
    world.tell(Input::Quiet);
    let effects = world.becomes(2, Some("it can't read the state"));
    assert_eq!(failed(&effects), &UpgradeFailure::Image("it can't read the state".into()));
    assert_eq!(effects[1], Effect::Returning { generation: 1 });
    assert!(matches!(effects[2], Effect::Returned(_)) && effects.len() == 3, "{effects:?}");
    assert_eq!((world.fleet.generation(), world.holders()), (1, vec![(1, 1), (2, 1)]));
    assert_eq!(world.tell(Input::Upgrade), [Effect::Check], "it may be tried again");
}

#[test]
fn without_a_way_back_the_new_image_goes_on() {
    let mut world = World::serving(2);
    world.upgraded();
    let effects = world.dies(3, CRASH);
    assert!(effects.contains(&Effect::Retire { generation: 2 }));
    world.tell(Input::Quiet);
    let effects = world.tell(Input::NotExeced("no such file".into()));
    assert!(matches!(failed(&effects), UpgradeFailure::Worker { id: 3, .. }));
    assert_eq!(spawns(&world.dies(1, KILLED)), [(4, 0, 2)]);
    assert_eq!(world.fleet.generation(), 2);
}

#[test]
fn a_returning_roll_that_fails_is_tried_no_more() {
    let mut world = World::serving(2);
    world.upgraded();
    world.up(3);
    world.dies(4, CRASH);
    world.goes_back();
    let effects = world.dies(5, CRASH);
    let returned = |effect: &&Effect| matches!(effect, Effect::Returned(Reload { failure: Some(_), .. }));
    assert!(effects.iter().any(|effect| returned(&effect)) && !told(&effects), "{effects:?}");
    assert_eq!(world.holders(), [(3, 2), (2, 1)]);
    // Whoever is born now is of the old program.
    assert_eq!(spawns(&world.dies(3, KILLED)), [(6, 0, 1)]);
}

#[test]
fn p90_a_stop_wins_at_every_stage() {
    type Way = fn(&mut World);
    let ways: [(&str, Way); 6] = [
        ("waiting", |world| {
            world.tell(Input::Reload);
            world.tell(Input::Upgrade);
        }),
        ("checking", |world| drop(world.tell(Input::Upgrade))),
        ("quiet", World::checked),
        ("executing", |world| {
            world.checked();
            world.tell(Input::Quiet);
        }),
        ("proving", |world| drop(world.upgraded())),
        ("going back", |world| {
            world.upgraded();
            world.dies(3, CRASH);
        }),
    ];
    for (stage, way) in ways {
        let mut world = World::serving(2);
        way(&mut world);
        let effects = world.tell(Input::Stop { signal: Some(Signal::TERM) });
        assert_eq!(failed(&effects), &UpgradeFailure::Stopped, "{stage}");
        assert!(!world.fleet.awaits_quiet(), "{stage}");
        assert_eq!(world.tell(Input::Checked(Ok(()))), [], "{stage}");
        assert_eq!(world.tell(Input::NotExeced("no".into())), [], "{stage}");
        let effects = world.tell(Input::Upgrade);
        assert_eq!(failed(&effects), &UpgradeFailure::Stopped, "{stage}: and no more");
        assert_eq!(spawns(&world.dies(1, DONE)), [], "{stage}");
    }
}

#[test]
fn when_nobody_is_left_it_is_over() {
    let mut world = World::serving(1);
    world.tell(Input::Upgrade);
    world.tell(Input::Disconnect { id: Id(1) });
    let effects = world.dies(1, DONE);
    assert_eq!(failed(&effects), &UpgradeFailure::Stopped);
    assert!(world.fleet.is_over());
}

#[test]
fn p85_an_unfit_program_changes_nothing() {
    let mut world = World::serving(2);
    assert_eq!(world.tell(Input::Upgrade), [Effect::Check]);
    world.now += SECOND;
    let effects = world.tell(Input::Checked(Err("it is not executable".into())));
    let why = UpgradeFailure::Check("it is not executable".into());
    assert_eq!(effects, [Effect::Upgraded(Upgrade { generation: 2, took: SECOND, failure: Some(why) })]);
    assert_eq!((world.fleet.generation(), world.holders()), (1, vec![(1, 1), (2, 1)]));
    // Its number is not used again.
    assert_eq!(world.tell(Input::Reload)[0], Effect::Reloading { generation: 3 });
}

#[test]
fn p86_no_answer_in_time_is_one_and_a_late_one_is_none() {
    let mut world = World::serving(1);
    world.tell(Input::Upgrade);
    assert_eq!(world.fleet.deadline(), Some(world.now + 10 * SECOND));
    assert_eq!(world.after(9 * SECOND), []);
    let effects = world.after(SECOND);
    assert!(matches!(failed(&effects), UpgradeFailure::Check(why) if why.contains("10s")), "{effects:?}");
    assert_eq!(world.fleet.deadline(), None);
    assert_eq!(world.tell(Input::Checked(Ok(()))), []);
    assert!(!world.fleet.awaits_quiet());
    // The next one is asked anew.
    assert_eq!(world.tell(Input::Upgrade), [Effect::Check]);
}
