//! Policies over real lanes, without workers: what those would say is put into their mouths.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::config::Overload;
use crate::primary::slot::Id;
use crate::sys::epoll::Epoll;
use crate::sys::scm;

const HTTP: ListenerId = ListenerId(1);
const OPERATOR: ListenerId = ListenerId(2);

/// As long as nothing is late.
const PATIENCE: Duration = Duration::from_millis(10);

/// Lanes of one listener, and who reads from them.
struct World {
    lanes: Lanes,
    epoll: Epoll,
    now: Instant,
    ends: Vec<(LaneId, OwnedFd, Seen)>,
    clients: Vec<OwnedFd>,
}

impl World {
    fn new(policy: Policy, slots: &[usize]) -> World {
        let (lanes, epoll) = (Lanes::new(Overload::Wait, policy), Epoll::new().unwrap());
        let mut world = World { lanes, epoll, now: Instant::now(), ends: Vec::new(), clients: Vec::new() };
        for (n, slot) in slots.iter().enumerate() {
            world.open(n as u64 + 1, *slot, 1);
        }
        world
    }

    /// By number, from 0.
    fn open(&mut self, id: u64, slot: usize, generation: u64) {
        self.open_to(id, slot, generation, vec![HTTP]);
    }

    fn open_to(&mut self, id: u64, slot: usize, generation: u64, listeners: Vec<ListenerId>) {
        let (lane, end) = self.lanes.open(Id(id), slot, generation, listeners).unwrap();
        self.ends.push((lane, end, Seen::default()));
        self.say();
    }

    fn say(&mut self) {
        for (id, _, seen) in &self.ends {
            if let Some(lane) = self.lanes.lanes.get_mut(id) {
                lane.pretended = Some(*seen);
            }
        }
    }

    /// The number of the one that got it.
    fn send(&mut self, peer: Option<Ipv4Addr>) -> usize {
        let (socket, client) = scm::stream_pair().unwrap();
        self.clients.push(client);
        let peer = peer.map(|ip| SocketAddr::from((ip, 80 + self.clients.len() as u16)));
        self.give(Connection { socket, listener: HTTP, peer })
    }

    fn give(&mut self, connection: Connection) -> usize {
        let handed = |world: &World| -> Vec<_> {
            let handed = |id| world.lanes.lanes.get(id).map_or(0, |lane| lane.pace.handed());
            world.ends.iter().map(|(id, ..)| handed(id)).collect()
        };
        let before = handed(self);
        let address = Address::Tcp(([127, 0, 0, 1], 8000).into());
        self.lanes.hand_off(connection, Some(&address), &self.epoll, |id| id.0, self.now).unwrap();
        handed(self).iter().zip(before).position(|(after, before)| *after > before).unwrap()
    }

    /// It reads so many, which stay open.
    fn read(&mut self, number: usize, count: u64) {
        let (_, end, seen) = &mut self.ends[number];
        for _ in 0..count {
            assert!(scm::receive(end.as_fd(), &mut [0; 64], &mut Vec::new()).unwrap().bytes > 0);
            (seen.received, seen.open) = (seen.received + 1, seen.open + 1);
        }
        self.say();
    }

    fn read_all(&mut self) {
        (0..self.ends.len()).for_each(|number| self.read_all_of(number));
    }

    fn read_all_of(&mut self, number: usize) {
        let (id, _, seen) = &self.ends[number];
        let pace = self.lanes.lanes[id].pace;
        self.read(number, pace.handed() - pace.taken_back() - seen.received);
    }

    /// It has read so many, and they are closed.
    fn serve(&mut self, number: usize) {
        let seen = &mut self.ends[number].2;
        (seen.open, seen.served) = (0, seen.received);
        self.say();
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.lanes.tick(self.now);
    }

    /// What is read back goes to these.
    fn moved(&mut self) -> Vec<usize> {
        let mut to = Vec::new();
        while let Some(connection) = self.lanes.read_back(self.now) {
            to.push(self.give(connection));
            assert!(to.len() < 1000, "there is no end of it");
        }
        to
    }
}

/// Mutation: a credit of nothing; look at the wrong lane.
#[test]
fn by_turns_it_is_exact_as_long_as_all_keep_up() {
    let mut world = World::new(Policy::RoundRobin, &[0, 1, 2]);
    for n in 0..300 {
        assert_eq!(world.send(None), n % 3);
        // A little loaded: each reads when some have gathered.
        if n % 20 == 19 {
            world.wait(Duration::from_millis(3));
            world.read_all();
        }
    }
    assert_eq!(world.moved(), Vec::<usize>::new());
}

/// Mutation: have no patience; read back what is there at once; from a lane that has been read meanwhile.
#[test]
fn what_one_that_is_busy_has_not_read_goes_to_one_that_is_not() {
    let mut world = World::new(Policy::RoundRobin, &[0, 1]);
    assert_eq!([(); 6].map(|()| world.send(None)), [0, 1, 0, 1, 0, 1]);
    world.read(1, 3);
    assert_eq!(world.moved(), Vec::<usize>::new());
    world.wait(PATIENCE);
    assert_eq!(world.moved(), Vec::<usize>::new(), "the primary may have been late itself");
    world.wait(PATIENCE);
    assert_eq!(world.moved(), [1, 1, 1]);
    assert_eq!([(); 2].map(|()| world.send(None)), [1, 1], "it is not looked at again yet");
    world.read(1, 5);
    world.wait(PATIENCE);
    assert_eq!([(); 3].map(|()| world.send(None)), [0, 1, 1], "it is tried with one");
    world.wait(PATIENCE);
    world.wait(PATIENCE);
    assert_eq!([(); 2].map(|()| world.send(None)), [0, 1], "both are behind");
    world.read(1, 3);
    assert_eq!([(); 2].map(|()| world.send(None)), [1, 1], "it is passed over");
    world.read(0, 2);
    assert_eq!([(); 4].map(|()| world.send(None)), [0, 1, 0, 1]);
}

/// A busy one alone serves a second listener, say slot 0 an address for its operator. What came from there goes round to it again, and
/// the loop would go round with it until it reads.
///
/// Mutation: read on from a lane that was given something just now; never again.
#[test]
fn what_nobody_else_serves_is_not_moved_in_a_circle() {
    let mut world = World::new(Policy::RoundRobin, &[]);
    world.open_to(1, 0, 1, vec![HTTP, OPERATOR]);
    world.open(2, 1, 1);
    let (mine, client) = scm::stream_pair().unwrap();
    world.clients.push(client);
    assert_eq!(world.give(Connection { socket: mine, listener: OPERATOR, peer: None }), 0);
    assert_eq!([(); 4].map(|()| world.send(None)), [0, 1, 0, 1]);
    world.read(1, 2);
    world.wait(PATIENCE);
    world.wait(PATIENCE);
    assert_eq!(world.moved(), [0], "the first of them comes back, and ends it");
    world.read_all_of(1);
    world.wait(PATIENCE);
    assert_eq!(world.moved(), [1, 1, 0], "who was behind it has not lost his way");
    world.read(0, 1);
}

/// Mutation: read back where all are behind, or at a stop.
#[test]
fn where_nobody_keeps_up_everything_stays_where_it_is() {
    let mut world = World::new(Policy::RoundRobin, &[0, 1]);
    (0..10).for_each(|_| assert!(world.send(None) < 2));
    for _ in 0..5 {
        world.wait(PATIENCE);
        assert_eq!(world.moved(), Vec::<usize>::new());
    }
    world.lanes.disregard_limits();
    world.read(1, 5);
    world.wait(PATIENCE);
    assert_eq!(world.moved(), Vec::<usize>::new());
}

/// A worker that is short of descriptors may receive one without its socket, which it does not count.
///
/// Mutation: wait for it; forgive nothing that is counted later; more than is missing.
#[test]
fn what_a_worker_has_lost_is_not_waited_for() {
    let mut world = World::new(Policy::RoundRobin, &[0, 1]);
    assert_eq!([(); 2].map(|()| world.send(None)), [0, 1]);
    world.read_all();
    let one = &mut world.ends[0].2;
    one.received -= 1;
    world.say();
    for _ in 0..3 {
        world.wait(PATIENCE);
        assert_eq!(world.moved(), [0_usize; 0]);
    }
    assert_eq!(world.lanes.deadline(), None, "there is nothing to look after");
    assert_eq!([(); 4].map(|()| world.send(None)), [0, 1, 1, 1], "it is tried with one");
    for number in [0, 1] {
        let count = if number == 0 { 1 } else { 3 };
        world.read(number, count);
    }
    assert_eq!([(); 4].map(|()| world.send(None)), [0, 1, 0, 1]);
    world.read(1, 2);
    world.wait(PATIENCE);
    world.wait(PATIENCE);
    assert_eq!(world.moved(), [1, 1], "and looked after as any other");
}

/// Mutation: look for ever; never.
#[test]
fn the_primary_wakes_up_while_something_is_unread_and_not_otherwise() {
    let mut world = World::new(Policy::RoundRobin, &[0, 1]);
    assert_eq!(world.lanes.deadline(), None);
    world.send(None);
    world.send(None);
    assert_eq!(world.lanes.deadline(), Some(world.now + PATIENCE));
    assert_eq!(world.lanes.watched.len(), 2);
    world.read_all();
    world.wait(PATIENCE);
    assert_eq!(world.lanes.deadline(), None);
    world.send(None);
    world.wait(PATIENCE);
    assert_eq!(world.lanes.deadline(), Some(world.now + PATIENCE));
    world.lanes.suspect(Id(1), true);
    world.wait(PATIENCE);
    assert_eq!(world.lanes.deadline(), None, "whoever is suspected is not waited for by the millisecond");
}

/// Mutation: look at it no more.
#[test]
fn whoever_is_trusted_again_has_its_turn() {
    let mut world = World::new(Policy::RoundRobin, &[0, 1]);
    assert_eq!([(); 2].map(|()| world.send(None)), [0, 1]);
    world.read(1, 1);
    world.wait(PATIENCE);
    world.wait(PATIENCE);
    world.lanes.suspect(Id(1), true);
    world.wait(PATIENCE);
    world.lanes.suspect(Id(1), false);
    assert_eq!(world.lanes.watched.len(), 1, "what it has not read is looked after again");
    world.read(0, 1);
    assert_eq!([(); 2].map(|()| world.send(None)), [0, 1]);
}

/// Mutation: look again as soon as ever.
#[test]
fn where_the_primary_is_woken_late_everybody_has_longer() {
    let mut world = World::new(Policy::RoundRobin, &[0, 1]);
    world.send(None);
    world.wait(PATIENCE * 2);
    assert_eq!(world.lanes.deadline(), Some(world.now + PATIENCE * 5));
}

/// Mutation: for as long as that was, and longer.
#[test]
fn a_primary_that_stood_still_is_not_blind_for_longer_yet() {
    let mut world = World::new(Policy::RoundRobin, &[0, 1]);
    assert_eq!([(); 2].map(|()| world.send(None)), [0, 1]);
    world.read(1, 1);
    world.wait(Duration::from_secs(60));
    assert_eq!(world.moved(), [0_usize; 0], "everybody may have stood still");
    world.wait(Duration::from_millis(500));
    assert_eq!(world.moved(), [1]);
}

/// Mutation: count what is open alone; what is unread alone.
#[test]
fn the_fewest_connections_are_those_that_are_open_and_those_on_their_way() {
    let mut world = World::new(Policy::LeastConnections, &[0, 1]);
    assert_eq!([(); 4].map(|()| world.send(None)), [0, 1, 0, 1]);
    world.read_all();
    world.serve(1);
    assert_eq!([(); 4].map(|()| world.send(None)), [1, 1, 0, 1]);
    world.read_all();
    world.serve(0);
    assert_eq!([(); 3].map(|()| world.send(None)), [0; 3]);
}

/// One whose number of open connections is a lie harms nobody but itself.
///
/// Mutation: add without a limit.
#[test]
fn whoever_lies_gets_nothing_or_everything() {
    let mut world = World::new(Policy::LeastConnections, &[0, 1]);
    let lie = |world: &mut World, lie| {
        world.ends[0].2 = lie;
        world.say();
    };
    lie(&mut world, Seen { received: u64::MAX, open: u64::MAX, served: 0 });
    assert_eq!([(); 2].map(|()| world.send(None)), [1; 2]);
    lie(&mut world, Seen { received: u64::MAX, open: 0, served: u64::MAX });
    assert_eq!([(); 3].map(|()| world.send(None)), [0; 3]);
}

/// Mutation: hash the port; the number of the worker; take back what a busy one has not read.
#[test]
fn a_client_stays_with_its_slot_over_a_replacement_and_a_reload() {
    let clients = (1..=9).map(|n| Ipv4Addr::new(127, 0, 0, n));
    let mut world = World::new(Policy::Sticky, &[0, 1, 2]);
    let places = |world: &mut World| -> Vec<usize> {
        clients.clone().map(|client| world.send(Some(client))).collect()
    };
    let home = places(&mut world);
    // As docs/policies.md computes it.
    assert_eq!(home, [2, 2, 1, 1, 0, 2, 1, 0, 0]);
    assert_eq!(places(&mut world), home);
    world.wait(PATIENCE);
    world.wait(PATIENCE);
    assert_eq!((world.moved(), places(&mut world)), (vec![], home.clone()), "it waits for who is busy");
    world.lanes.all_gone(Id(2));
    assert_eq!(world.moved().len(), 9);
    let meanwhile = places(&mut world);
    assert!(meanwhile.iter().zip(&home).all(|(now, before)| if *before == 1 {
        *now != 1
    } else {
        now == before
    }));
    world.open(4, 1, 1);
    // Number 3 is in slot 1.
    let back =
        |places: Vec<usize>, is| places.iter().map(|n| if *n == is { 1 } else { *n }).collect::<Vec<_>>();
    let now = places(&mut world);
    assert_eq!(back(now, 3), home);
    // And in a reload number 4 is, with number 3 still beside it.
    world.open(5, 1, 2);
    let now = places(&mut world);
    assert_eq!(back(now, 4), home);
    assert_eq!([(); 3].map(|()| world.send(None)).len(), 3, "who has no address goes by turns");
}

/// Two threads of one worker: two lanes in one slot.
///
/// Mutation: always the first.
#[test]
fn the_threads_of_a_clients_worker_share_its_connections() {
    let mut world = World::new(Policy::Sticky, &[0]);
    world.open(1, 0, 1);
    let places = [(); 4].map(|()| world.send(Some(Ipv4Addr::LOCALHOST)));
    assert_eq!(places, [0, 1, 0, 1]);
}

static SAYS: AtomicUsize = AtomicUsize::new(0);

fn own(choice: &Choice<'_>) -> Option<usize> {
    assert_eq!(choice.address(), &Address::Tcp(([127, 0, 0, 1], 8000).into()));
    let candidates = choice.candidates();
    let known = |n: usize| (candidates[n].id(), candidates[n].slot(), candidates[n].generation());
    assert_eq!((known(0), known(1), candidates.len()), ((3, 0, 2), (2, 4, 1), 2));
    match SAYS.load(Ordering::Relaxed) {
        100 => panic!("it does not know"),
        101 => None,
        102 => {
            let [one, other] =
                [0, 1].map(|n| (candidates[n].open(), candidates[n].unread(), candidates[n].load()));
            assert_eq!((one, other), ((1, 2, 3), (0, 0, 0)));
            assert_eq!(choice.peer().map(|peer| peer.ip()), Some(Ipv4Addr::LOCALHOST.into()));
            Some(4)
        }
        slot => Some(slot),
    }
}

/// Slot 0 has an old worker of one lane and a new one of two.
///
/// Mutation: show a lane, not a worker; the older one; take any slot that is said; let a panic through; fill the list without
/// emptying it.
#[test]
fn a_policy_of_ones_own_sees_workers_and_names_a_slot() {
    let mut world = World::new(Policy::Own(own), &[0, 4]);
    world.open(3, 0, 2);
    world.open(3, 0, 2);
    let mut send = |says| {
        SAYS.store(says, Ordering::Relaxed);
        world.send(Some(Ipv4Addr::LOCALHOST))
    };
    assert_eq!([send(0), send(0), send(0), send(4)], [2, 3, 2, 1], "the threads of its worker share");
    world.read(1, 1);
    world.serve(1);
    world.read(2, 1);
    let mut send = |says| {
        SAYS.store(says, Ordering::Relaxed);
        world.send(Some(Ipv4Addr::LOCALHOST))
    };
    assert_eq!(send(102), 1);
    assert_eq!([send(101), send(100), send(7), send(101), send(100)], [0, 2, 3, 1, 0], "by turns");
    assert!(world.lanes.own.told_panic && world.lanes.own.told_nobody);
}
