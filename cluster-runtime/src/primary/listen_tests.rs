//! Who has a use for which listener, over real sockets and without workers.

use super::*;

fn key(address: &str) -> Key {
    let site = Site::Address(Address::parse(address).unwrap());
    Key { site, nth: 0, ipv6_only: None, mode: None }
}

struct World {
    listeners: Listeners,
    now: Instant,
    alive: Vec<u64>,
    coming: bool,
}

impl World {
    fn new() -> World {
        World { listeners: Listeners::default(), now: Instant::now(), alive: vec![1, 2], coming: false }
    }

    fn bind(&mut self, slot: usize, worker: u64) -> BoundTo {
        let settings = Settings::default();
        self.listeners.bind((slot, Id(worker)), key("127.0.0.1:0"), 16, &settings).unwrap().0
    }

    fn bind_other(&mut self, slot: usize, worker: u64) {
        let (settings, other) = (Settings::default(), Key { nth: 1, ..key("127.0.0.1:0") });
        self.listeners.bind((slot, Id(worker)), other, 16, &settings).unwrap();
    }

    fn abandoned_after(&mut self, time: Duration) -> usize {
        self.now += time;
        let alive = self.alive.clone();
        self.listeners.abandoned(self.now, |id| alive.contains(&id.0), || self.coming).len()
    }

    /// Somebody in this slot is up.
    fn comes_up(&mut self, slot: usize) {
        let alive = self.alive.clone();
        self.listeners.succeeded(slot, |id| alive.contains(&id.0), self.now);
    }

    fn dies(&mut self, slot: usize, worker: u64) {
        self.alive.retain(|id| *id != worker);
        self.listeners.bereave((slot, Id(worker)), false, self.now);
    }
}

const AT_ONCE: Duration = Duration::ZERO;

#[test]
fn n50_the_last_who_gives_it_up_closes_it_a_moment_later() {
    let mut world = World::new();
    let bound = world.bind(0, 1);
    assert_eq!(world.bind(1, 2).listener, bound.listener);
    world.listeners.unbind((0, Id(1)), bound.listener, world.now);
    assert_eq!(world.abandoned_after(2 * LINGER), 0, "another has it");
    assert!(!world.listeners.hasten(world.now), "another has it");
    world.listeners.unbind((1, Id(2)), bound.listener, world.now);
    // A word about what is another's is not heard.
    world.listeners.unbind((1, Id(1)), bound.listener, world.now);
    assert_eq!(world.abandoned_after(AT_ONCE), 0);
    assert_eq!(world.listeners.deadline(), Some(world.now + LINGER));
    assert_eq!(world.abandoned_after(LINGER), 1);
    assert_ne!(world.bind(0, 1).listener, bound.listener, "its key went with it");
}

#[test]
fn n87_what_all_have_given_up_is_in_nobodys_way() {
    let mut world = World::new();
    let bound = world.bind(0, 1);
    world.listeners.unbind((0, Id(1)), bound.listener, world.now);
    let mut again = key(&bound.address.to_string());
    again.nth = 7;
    let settings = Settings::default();
    let bind = |world: &mut World, key| world.listeners.bind((1, Id(2)), key, 16, &settings);
    assert_eq!(bind(&mut world, again.clone()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert!(world.listeners.hasten(world.now));
    assert_eq!(world.abandoned_after(AT_ONCE), 1);
    assert_eq!(bind(&mut world, again).unwrap().0.address, bound.address);
}

#[test]
fn r49_who_has_it_twice_gives_it_up_twice() {
    let mut world = World::new();
    let bound = world.bind(0, 1);
    world.bind(0, 1);
    world.listeners.unbind((0, Id(1)), bound.listener, world.now);
    assert_eq!(world.abandoned_after(2 * LINGER), 0);
    assert!(world.listeners.is_held_by(bound.listener, (0, Id(1))));
    world.listeners.unbind((0, Id(1)), bound.listener, world.now);
    assert!(!world.listeners.is_held_by(bound.listener, (0, Id(1))));
    world.bind(0, 1);
    assert_eq!(world.abandoned_after(2 * LINGER), 0, "bound again in time");
}

#[test]
fn what_a_dead_worker_had_is_kept_while_somebody_comes_and_until_he_has_settled() {
    let mut world = World::new();
    let bound = world.bind(0, 1);
    // On its way to its end it gave up what it had.
    world.listeners.unbind((0, Id(1)), bound.listener, world.now);
    (world.alive, world.coming) = (vec![1, 2, 3], true);
    world.dies(0, 1);
    assert_eq!(world.abandoned_after(1000 * SETTLE), 0);
    world.comes_up(0);
    world.coming = false;
    assert_eq!(world.abandoned_after(AT_ONCE), 0, "it may bind one thing after the other");
    assert_eq!(world.bind(0, 3).listener, bound.listener);
    assert_eq!(world.abandoned_after(2 * SETTLE), 0);
    world.dies(0, 3);
    world.alive.push(4);
    world.comes_up(0);
    assert_eq!(world.abandoned_after(SETTLE), 1, "it did not");
}

/// In a reload: the old one says once more that it is up, or its successor of the old generation does, while the new one
/// has bound and is not ready.
#[test]
fn of_two_who_live_in_one_slot_each_keeps_what_it_has() {
    let mut world = World::new();
    world.alive = vec![1, 2];
    let bound = world.bind(0, 1);
    assert_eq!(world.bind(0, 2).listener, bound.listener);
    world.comes_up(0);
    assert_eq!(world.abandoned_after(2 * SETTLE), 0);
    world.dies(0, 1);
    assert_eq!(world.abandoned_after(2 * SETTLE), 0, "the new one has it");
    assert!(world.listeners.is_held_by(bound.listener, (0, Id(2))));
}

/// In a reload the new one is up first, and who was replaced may be gone in no time.
///
/// Mutation: keep it for somebody who comes, as of any other who is dead.
#[test]
fn what_one_had_who_was_replaced_is_kept_until_the_new_one_has_settled() {
    let mut world = World::new();
    let bound = world.bind(0, 1);
    world.alive = vec![2];
    world.comes_up(0);
    world.listeners.bereave((0, Id(1)), true, world.now);
    assert_eq!(world.abandoned_after(AT_ONCE), 0, "it may bind one thing after the other");
    assert_eq!(world.bind(0, 2).listener, bound.listener);
    assert_eq!(world.abandoned_after(SETTLE), 0);
    world.bind_other(0, 1);
    world.listeners.bereave((0, Id(1)), true, world.now);
    assert_eq!(world.abandoned_after(SETTLE), 1, "it did not");
}

#[test]
fn what_a_dead_worker_had_is_closed_when_nobody_comes() {
    let mut world = World::new();
    world.bind(0, 1);
    world.coming = true;
    world.dies(0, 1);
    assert_eq!(world.abandoned_after(AT_ONCE), 0);
    // Nobody did after all: it is looked for, though nothing else has happened.
    world.coming = false;
    assert_eq!(world.abandoned_after(AT_ONCE), 1);
}

#[test]
fn what_was_fixed_stays_and_nothing_else_is_bound() {
    let mut world = World::new();
    let settings = Settings { listen: vec!["127.0.0.1:0".into()], ..Settings::default() };
    let settings = settings.with_environment(|_| None).unwrap();
    let fixed = world.listeners.bind_all(&settings).unwrap();
    let bind = |world: &mut World, key| world.listeners.bind((0, Id(1)), key, 16, &settings);
    let bound = bind(&mut world, key("127.0.0.1:0")).unwrap().0;
    assert_eq!(bound.listener, fixed[0].listener);
    for other in [key("udp:127.0.0.1:0"), Key { nth: 1, ..key("127.0.0.1:0") }] {
        let refused = bind(&mut world, other).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
    world.listeners.unbind((0, Id(1)), bound.listener, world.now);
    assert_eq!(world.abandoned_after(2 * LINGER), 0);
}

/// One socket has one such flag, whoever has it, and tokio panics over one that blocks.
///
/// Mutation: hand it out as it is.
#[test]
fn what_a_worker_has_made_of_its_flags_is_not_handed_to_the_next() {
    let mut world = World::new();
    let id = world.bind(0, 1).listener;
    let known = world.listeners.of_slot(id, 0, false).unwrap();
    assert_eq!(known, (id, false));
    let first = world.listeners.hand_out(id).unwrap();
    rustix::io::ioctl_fionbio(&first, false).unwrap();
    let second = world.listeners.hand_out(id).unwrap();
    assert!(rustix::fs::fcntl_getfl(&second).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
}
