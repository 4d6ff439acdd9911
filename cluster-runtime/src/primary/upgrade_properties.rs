//! What holds of upgrades, whatever happens.

use proptest::prelude::*;

use self::world::{Happening, World};
use super::super::step::{Input, Rules};
use super::*;
use crate::config::Restart;
use crate::event::{ExitStatus, Signal};

#[path = "upgrade_world.rs"]
mod world;

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

fn all_of_it() -> impl Strategy<Value = Happening> {
    let who = 0..32usize;
    prop_oneof![
        40 => anything(),
        4 => who.clone().prop_map(Happening::Worn),
        3 => (0..6usize).prop_map(Happening::Scale),
        6 => who.clone().prop_map(Happening::Beats),
        1 => who.clone().prop_map(Happening::Still),
        2 => who.prop_map(Happening::Disconnected),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let restart =
        prop_oneof![4 => Just(Restart::Always), 1 => Just(Restart::OnFailure), 1 => Just(Restart::Never)];
    let most = prop_oneof![4 => Just(u32::MAX), 1 => 0..8u32];
    (restart, most, 1..4usize, prop::option::of(Just(8u64)), prop::bool::ANY, prop::option::of(Just(600u64)))
        .prop_map(|(restart, max_restarts, max_surge, heartbeat, late, age)| Rules {
            restart,
            max_restarts,
            max_surge,
            heartbeat: heartbeat.map(Duration::from_secs),
            pre_drain: Duration::from_secs(if late { 5 } else { 0 }),
            max_age: age.map(Duration::from_secs),
            ..Rules::usual()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    /// All that can happen, in one life: upgrades, reloads, workers that are worn or silent, another number of them, and a
    /// stop with a time before it.
    #[test]
    fn it_all_ends_whatever_happens(
        workers in 1..5usize,
        slow in any::<bool>(),
        rules in rules(),
        happenings in prop::collection::vec(all_of_it(), 0..120),
        calm in any::<bool>(),
        signal in any::<bool>(),
        later in prop::collection::vec(all_of_it(), 0..30),
    ) {
        let mut world = World::ruled(workers, slow, rules);
        for happening in happenings {
            if world.fleet.is_over() {
                break;
            }
            world.happen(happening);
        }
        if calm {
            world.settle();
            prop_assert!(world.is_calm(), "it goes on for ever: {:?}", world.fleet);
            prop_assert_eq!(world.upgraded.len(), world.wishes);
            let holders = world.fleet.slots.iter().filter(|slot| slot.holder.is_some()).count();
            prop_assert_eq!(world.fleet.members().count(), holders);
            prop_assert!(world.fleet.is_told_to_stop() || world.fleet.target() == holders);
        }
        world.happen(Happening::Stop(signal));
        let images = world.images;
        for happening in later {
            if world.fleet.is_over() {
                break;
            }
            world.happen(happening);
        }
        prop_assert_eq!(world.images, images);
        world.settle();
        prop_assert!(world.fleet.is_over(), "{:?}", world.fleet);
        prop_assert_eq!(world.upgraded.len(), world.wishes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

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
