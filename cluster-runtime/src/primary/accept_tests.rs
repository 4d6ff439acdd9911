//! Connections from a real listener to real lanes, without workers.

use std::net::TcpStream;
use std::os::fd::OwnedFd;

use super::*;
use crate::config::Settings;
use crate::event::Address;
use crate::ipc::message::{Key, Site};
use crate::primary::slot::Id;
use crate::sys::{allocations, scm};

struct World {
    listeners: Listeners,
    lanes: Lanes,
    door: Door,
    epoll: Epoll,
    id: ListenerId,
    address: Address,
    ends: Vec<OwnedFd>,
    names: Vec<u64>,
}

impl World {
    fn new(workers: usize) -> World {
        let (mut listeners, mut lanes) = (Listeners::default(), Lanes::default());
        let (mut door, epoll) = (Door::default(), Epoll::new().unwrap());
        let site = Site::Address(Address::parse("127.0.0.1:0").unwrap());
        let key = Key { site, nth: 0, ipv6_only: None, mode: None };
        let (bound, _) = listeners.bind((0, Id(1)), key, 64, &Settings::default()).unwrap();
        let id = bound.listener;
        door.add(id, &listeners, &epoll).unwrap();
        let open = |slot| lanes.open(Id(slot as u64), slot, 1, vec![id]).unwrap().1;
        let ends = (0..workers).map(open).collect();
        let address = listeners.get(id).unwrap().address.clone();
        door.arm(&listeners, &lanes, &epoll, Instant::now()).unwrap();
        World { listeners, lanes, door, epoll, id, address, ends, names: Vec::new() }
    }

    fn connect(&self) -> TcpStream {
        let Address::Tcp(address) = &self.address else { panic!("not what was bound") };
        TcpStream::connect(address).unwrap()
    }

    /// As the loop does it, where nothing but connections comes.
    fn turn(&mut self) {
        self.epoll.wait(Some(Duration::ZERO), &mut self.names).unwrap();
        for name in self.names.drain(..) {
            assert_eq!(Source::of(name), Source::Listener(self.id));
            self.door.accept(self.id, &self.listeners, &mut self.lanes, &self.epoll, Instant::now());
        }
    }

    /// How many connections each worker has read by now.
    fn read(&self) -> Vec<usize> {
        let count = |end: &OwnedFd| {
            let mut fds = Vec::new();
            while scm::receive(end, &mut [0; 64], &mut fds).is_ok() {}
            fds.len()
        };
        self.ends.iter().map(count).collect()
    }
}

/// Mutation: let `Epoll::wait` make a list of its own, or give `Lanes::hand_off` one.
#[test]
fn no_connection_costs_the_primary_an_allocation() {
    let mut world = World::new(4);
    let mut served = vec![0; 4];
    for n in 0..400 {
        let client = world.connect();
        let before = allocations::count();
        world.turn();
        let made = allocations::count() - before;
        // What the first one has made room for is kept.
        assert!(n == 0 || made == 0, "connection {n}: {made} allocations");
        world.read().iter().zip(&mut served).for_each(|(more, all)| *all += more);
        drop(client);
    }
    assert_eq!(served, [100; 4]);
}

/// Mutation: say nothing of it in `Door::accept`; the loop would be told of the same listener for ever.
#[test]
fn where_nobody_has_room_the_loop_is_told() {
    let mut world = World::new(1);
    let clients: Vec<_> = (0..3).map(|_| world.connect()).collect();
    // What was opened has stirred the lanes; the loop sees to it.
    assert!(world.lanes.read_back(Instant::now()).is_none());
    world.turn();
    assert!(!world.door.stirred && !world.lanes.is_stirred(), "the first has found its worker");
    let id = LaneId(1);
    world.lanes.full(Id(0), id);
    world.turn();
    assert!(world.door.stirred && world.lanes.is_stirred());
    assert_eq!(world.read(), [1], "the others wait where they are");
    drop(clients);
}

/// Mutation: say nothing of it in `Door::hand_off`; the loop would wait with somebody in its hands.
#[test]
fn where_somebody_was_accepted_and_nobody_takes_him_the_loop_is_told() {
    let mut world = World::new(1);
    assert!(world.lanes.read_back(Instant::now()).is_none());
    let mut clients = Vec::new();
    while !world.door.stirred {
        assert!(clients.len() < 4096, "a lane has an end");
        clients.push(world.connect());
        world.turn();
    }
    assert_eq!(world.door.waiting.values().map(VecDeque::len).sum::<usize>(), 1);
    assert_eq!(world.read(), [clients.len() - 1]);
}

/// Mutation: accept as long as there are some: a burst at one listener would keep all else waiting.
#[test]
fn a_turn_is_one_connection() {
    let mut world = World::new(2);
    let clients: Vec<_> = (0..5).map(|_| world.connect()).collect();
    world.turn();
    assert_eq!(world.read(), [1, 0]);
    (0..4).for_each(|_| world.turn());
    assert_eq!(world.read(), [2, 2]);
    drop(clients);
}

/// Whoever has the socket too may shut it down; who was accepted before that is the primary's already.
///
/// Mutation: drop with the gate whoever waits behind it.
#[test]
fn who_waits_for_room_is_kept_when_his_listener_is_shut_down() {
    let mut world = World::new(1);
    let mut clients = Vec::new();
    while world.door.waiting.is_empty() {
        assert!(clients.len() < 4096, "a lane has an end");
        clients.push(world.connect());
        world.turn();
    }
    world.door.arm(&world.listeners, &world.lanes, &world.epoll, Instant::now()).unwrap();
    socket::listen_no_more(&world.listeners.get(world.id).unwrap().socket);
    world.turn();
    assert!(world.door.gates.is_empty(), "it would be told of for ever");
    let served = world.read()[0];
    world.lanes.writable(LaneId(1), &world.epoll);
    world.door.give_out(&world.listeners, &mut world.lanes, &world.epoll, Instant::now());
    assert_eq!(served + world.read()[0], clients.len());
}

/// To its client a connection is there as soon as the kernel has answered.
///
/// Mutation: close the door as soon as nobody is in the backlog.
#[test]
fn who_is_half_way_in_when_the_door_is_closed_is_waited_for() {
    if !half_open::tests::tells() {
        return;
    }
    let mut world = World::new(1);
    half_open::tests::hold_up(&world.listeners.get(world.id).unwrap().socket);
    let mut client = world.connect();
    let (now, id) = (Instant::now(), world.id);
    let World { listeners, lanes, door, epoll, .. } = &mut world;
    door.close(listeners, lanes, epoll, now, now + 2 * HALF_WAY);
    assert_eq!(door.empty(listeners, lanes, epoll, now), BTreeSet::from([id]));
    assert_eq!(door.deadline(), Some(now + FIRST_REST));
    std::io::Write::write_all(&mut client, b"x").unwrap();
    half_open::tests::comes(&world.listeners.get(id).unwrap().socket);
    let World { listeners, lanes, door, epoll, .. } = &mut world;
    assert!(door.empty(listeners, lanes, epoll, now + FIRST_REST).is_empty());
    assert!(!world.door.is_closing());
    assert_eq!(world.read(), [1]);
}

#[test]
fn who_stays_half_way_in_keeps_the_door_open_for_a_moment_only() {
    if !half_open::tests::tells() {
        return;
    }
    let mut world = World::new(1);
    half_open::tests::hold_up(&world.listeners.get(world.id).unwrap().socket);
    let _client = world.connect();
    let now = Instant::now();
    let World { listeners, lanes, door, epoll, .. } = &mut world;
    door.close(listeners, lanes, epoll, now, now + 2 * HALF_WAY);
    assert!(!door.empty(listeners, lanes, epoll, now).is_empty());
    assert!(door.empty(listeners, lanes, epoll, now + HALF_WAY).is_empty());
}
