//! What may happen to workers while they are reloaded, without a process.

use super::*;

#[test]
fn an_old_one_that_dies_meanwhile_is_respawned_as_ever_and_replaced_in_its_turn() {
    let mut world = World::serving(2, 1);
    world.tell(Input::Reload);
    assert_eq!(spawns(&world.dies(1, KILLED)), [(4, 0)], "its own replacement may never be ready");
    assert_eq!(spawns(&world.dies(2, KILLED)), [(5, 1)]);
    assert_eq!(world.holders(), [(4, 1), (5, 1)]);
    let effects = world.up(3);
    assert_eq!((drains(&effects), spawns(&effects)), (vec![4], vec![(6, 1)]));
    let effects = world.up(6);
    assert_eq!((drains(&effects), outcomes(&effects).len()), (vec![5], 1));
    assert_eq!(world.holders(), [(3, 2), (6, 2)]);
}

#[test]
fn a_throttled_slot_is_filled_by_the_new_generation_and_by_nobody_else() {
    let mut world = World::serving(2, 1);
    world.dies(1, CRASH);
    world.dies(3, CRASH);
    let throttled = world.dies(4, CRASH);
    assert!(matches!(throttled.last(), Some(Effect::Throttled { slot: 0, .. })), "{throttled:?}");
    assert_eq!(spawns(&world.tell(Input::Reload)), [(5, 0)]);
    let effects = world.up(5);
    assert_eq!((drains(&effects), spawns(&effects)), (vec![], vec![(6, 1)]));
    world.up(6);
    assert!(spawns(&world.after(100 * SECOND)).is_empty(), "the delayed birth is not to be any more");
    assert_eq!(world.holders(), [(5, 2), (6, 2)]);
}

#[test]
fn a_throttled_slot_stays_so_if_the_reload_fails() {
    let mut world = World::serving(2, 1);
    world.dies(1, CRASH);
    world.dies(3, CRASH);
    world.dies(4, CRASH);
    world.tell(Input::Reload);
    world.dies(5, CRASH);
    assert_eq!(spawns(&world.after(SECOND)), [(6, 0)]);
    assert_eq!(world.holders(), [(6, 1), (2, 1)]);
}

#[test]
fn who_was_told_to_leave_is_not_replaced_and_a_replacement_that_is_under_way_leaves_too() {
    let mut world = World::serving(2, 1);
    world.tell(Input::Disconnect { id: Id(2) });
    world.tell(Input::Reload);
    world.tell(Input::Disconnect { id: Id(1) });
    let effects = world.up(3);
    assert_eq!(drains(&effects), [3]);
    assert!(outcomes(&effects)[0].result().is_ok());
    for id in 1..=3 {
        assert!(spawns(&world.dies(id, DONE)).is_empty());
    }
    assert_eq!(world.fleet.end(), Some(Ok(())));
}

#[test]
fn who_is_forked_meanwhile_is_replaced_in_its_turn() {
    let mut world = World::serving(1, 1);
    world.tell(Input::Reload);
    let id = world.fleet.ids.next();
    assert_eq!(spawns(&world.tell(Input::Fork { id })), [(3, 1)]);
    assert_eq!(spawns(&world.up(2)), [(4, 1)]);
    assert_eq!(outcomes(&world.up(4)).len(), 1);
    assert_eq!(world.holders(), [(2, 2), (4, 2)]);
}

#[test]
fn a_replacement_that_is_disconnected_or_terminated_or_cut_off_ends_it() {
    for input in [
        Input::Disconnect { id: Id(2) },
        Input::Leave { id: Id(2), voluntary: true },
        Input::Leave { id: Id(2), voluntary: false },
        Input::Kill { id: Id(2), signal: Signal::TERM },
        Input::Closed { id: Id(2) },
    ] {
        let mut world = World::serving(1, 1);
        world.tell(Input::Reload);
        world.tell(input);
        assert!(drains(&world.up(2)).is_empty(), "it takes nobody's place");
        assert!(matches!(failed(&world.dies(2, DONE)), ReloadFailure::Worker { id: 2, .. }));
        assert_eq!(world.holders(), [(1, 1)]);
    }
}

#[test]
fn a_birth_that_fails_ends_it() {
    let mut world = World::serving(1, 1);
    let effects = world.fleet.step(Input::Reload, world.now);
    assert_eq!(spawns(&effects), [(2, 0)]);
    let effects = world.fleet.step(Input::Unborn { id: Id(2) }, world.now);
    assert!(matches!(failed(&effects), ReloadFailure::Worker { id: 2, .. }));
    assert_eq!(effects.len(), 1, "nobody heard of it before: {effects:?}");
}

#[test]
fn a_preload_that_fails_ends_it_and_who_waited_for_it_is_not_to_be() {
    let mut world = World::serving(2, 1);
    assert_eq!(spawns(&world.fleet.step(Input::Reload, world.now)), [(3, 0)]);
    assert_eq!(world.fleet.step(Input::Barren { generation: 1, why: String::new() }, world.now), []);
    let effects = world.fleet.step(Input::Barren { generation: 2, why: "said so".into() }, world.now);
    assert_eq!(failed(&effects), &ReloadFailure::Preload("said so".into()));
    assert!(matches!(world.fleet.member(Id(3)).map(|member| member.life), Some(Life::Draining { .. })));
    assert_eq!(world.fleet.step(Input::Unborn { id: Id(3) }, world.now), []);
    assert_eq!(world.holders(), [(1, 1), (2, 1)]);
}

#[test]
fn a_failed_reload_does_not_end_a_cluster_that_never_respawns() {
    let mut world = World::serving(1, 1);
    world.fleet.rules.restart = Restart::Never;
    world.tell(Input::Reload);
    world.dies(2, CRASH);
    world.tell(Input::Stop { signal: None });
    world.dies(1, DONE);
    assert_eq!(world.fleet.end(), Some(Ok(())));
}

#[test]
fn giving_up_ends_a_reload_as_any_stop_does() {
    let mut world = World::serving(2, 1);
    world.fleet.rules.max_restarts = 0;
    world.dies(1, KILLED);
    world.tell(Input::Reload);
    let effects = world.dies(3, CRASH);
    assert_eq!(failed(&effects), &ReloadFailure::Stopped, "{effects:?}");
    assert!(world.fleet.is_stopping());
    for id in 2..=4 {
        world.dies(id, DONE);
    }
    assert!(matches!(world.fleet.end(), Some(Err(Failure::GaveUp { .. }))));
}

#[test]
fn a_reload_of_nobody_is_done_at_once() {
    let mut world = World::serving(1, 1);
    world.tell(Input::Disconnect { id: Id(1) });
    assert!(outcomes(&world.tell(Input::Reload))[0].result().is_ok());
}

#[test]
fn who_is_forked_meanwhile_does_not_get_the_place_that_another_is_to_take() {
    let mut world = World::serving(1, 1);
    world.tell(Input::Reload);
    world.tell(Input::Disconnect { id: Id(1) });
    world.dies(1, DONE);
    let forked = world.fleet.ids.next();
    let effects = world.tell(Input::Fork { id: forked });
    assert!(effects.contains(&Effect::Spawn { id: forked, slot: 1, generation: 1 }), "{effects:?}");
}

#[test]
fn a_stop_at_once_is_told_as_one_though_somebody_has_left_badly() {
    let mut world = World::serving(2, 1);
    world.fleet.rules.restart = Restart::Never;
    world.dies(1, CRASH);
    world.tell(Input::StopNow { signal: Signal::QUIT });
    world.dies(2, KILLED);
    assert_eq!(world.fleet.end(), Some(Err(&Failure::Stopped { signal: Signal::QUIT })));
}

#[test]
fn a_reload_is_not_done_before_the_successor_of_a_new_one_that_was_killed_is_ready() {
    let mut world = World::serving(2, 1);
    world.tell(Input::Reload);
    world.up(3);
    world.dies(3, KILLED);
    world.up(4);
    assert_eq!(world.fleet.reloading(), Some(2), "5 is of the new generation, and not ready");
    let effects = world.dies(5, CRASH);
    let ended = effects.iter().find_map(|effect| match effect {
        Effect::Reloaded(reload) => Some(reload.result().is_err()),
        _ => None,
    });
    assert_eq!(ended, Some(true), "{effects:?}");
}
