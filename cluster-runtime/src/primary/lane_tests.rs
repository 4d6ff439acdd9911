//! Lanes over real sockets, without workers.

use super::*;

const HTTP: ListenerId = ListenerId(1);

fn connection() -> (Connection, OwnedFd) {
    let (socket, client) = scm::stream_pair().unwrap();
    (Connection { socket, listener: HTTP, peer: None }, client)
}

fn send(lanes: &mut Lanes, epoll: &Epoll) -> Option<OwnedFd> {
    let (connection, client) = connection();
    lanes.hand_off(connection, None, epoll, |id| id.0, Instant::now()).ok().map(|()| client)
}

fn read(lane: &OwnedFd) -> usize {
    let (mut count, mut fds) = (0, Vec::new());
    while scm::receive(lane, &mut [0; 64], &mut fds).is_ok_and(|received| received.bytes > 0) {
        count += 1;
    }
    assert_eq!(fds.len(), count);
    count
}

#[test]
fn three_lanes_get_a_third_each() {
    let (mut lanes, epoll) = (Lanes::default(), Epoll::new().unwrap());
    let ends: Vec<_> = (0..3).map(|n| lanes.open(Id(n), n as usize, 1, vec![HTTP]).unwrap()).collect();
    let clients: Vec<_> = (0..100).map(|_| send(&mut lanes, &epoll).unwrap()).collect();
    let counts: Vec<_> = ends.iter().map(|(_, end)| read(end)).collect();
    assert_eq!(counts, [34, 33, 33]);
    drop(clients);
}

fn read_all_back(lanes: &mut Lanes) -> usize {
    std::iter::from_fn(|| lanes.read_back(Instant::now())).count()
}

#[test]
fn g1_what_a_dead_worker_had_not_read_comes_back_as_soon_as_there_are_others() {
    let (mut lanes, epoll) = (Lanes::default(), Epoll::new().unwrap());
    let (_, end) = lanes.open(Id(1), 0, 1, vec![HTTP]).unwrap();
    let clients: Vec<_> = (0..5).map(|_| send(&mut lanes, &epoll).unwrap()).collect();
    let mut fds = Vec::new();
    scm::receive(&end, &mut [0; 64], &mut fds).unwrap();
    drop(end);
    lanes.all_gone(Id(1));
    assert!(!lanes.has_room(HTTP));
    assert!(send(&mut lanes, &epoll).is_none());
    assert_eq!(read_all_back(&mut lanes), 0, "they are safest where they are");
    let (_, _other) = lanes.open(Id(2), 0, 1, vec![HTTP]).unwrap();
    assert_eq!(read_all_back(&mut lanes), 4);
    assert_eq!(lanes.unread(), 0);
    drop(clients);
}

#[test]
fn a_crowded_lane_is_passed_over_until_it_is_writable() {
    let (mut lanes, mut epoll) = (Lanes::default(), Epoll::new().unwrap());
    let (id, end) = lanes.open(Id(1), 0, 1, vec![HTTP]).unwrap();
    let mut clients = Vec::new();
    while let Some(client) = send(&mut lanes, &epoll) {
        clients.push(client);
    }
    assert!(clients.len() > 50, "the kernel's queue holds {} only", clients.len());
    assert!(!lanes.has_room(HTTP));
    assert_eq!(read(&end), clients.len());
    let mut names = Vec::new();
    epoll.wait(None, &mut names).unwrap();
    assert_eq!(names, [id.0]);
    lanes.writable(id, &epoll);
    assert!(send(&mut lanes, &epoll).is_some());
}

#[test]
fn n45_what_a_full_worker_has_not_read_is_for_others_until_it_has_room() {
    let (mut lanes, epoll) = (Lanes::default(), Epoll::new().unwrap());
    let (id, _end) = lanes.open(Id(1), 0, 1, vec![HTTP]).unwrap();
    let clients = [send(&mut lanes, &epoll), send(&mut lanes, &epoll)];
    lanes.full(Id(2), id);
    assert!(lanes.has_room(HTTP), "another worker's word does not count");
    lanes.full(Id(1), id);
    assert!(!lanes.has_room(HTTP));
    let (_, _other) = lanes.open(Id(2), 1, 1, vec![HTTP]).unwrap();
    assert!(lanes.read_back(Instant::now()).is_some());
    lanes.room(Id(1), id);
    assert!(lanes.read_back(Instant::now()).is_none());
    drop(clients);
}

#[test]
fn a_lane_that_ends_is_read_to_its_end_by_its_worker_where_there_are_no_others() {
    let (mut lanes, epoll) = (Lanes::default(), Epoll::new().unwrap());
    let (_, alone) = lanes.open(Id(1), 0, 1, vec![HTTP]).unwrap();
    let client = send(&mut lanes, &epoll);
    lanes.end_all(Id(1));
    assert_eq!(read_all_back(&mut lanes), 0);
    assert_eq!(read(&alone), 1);
    assert_eq!(scm::receive(&alone, &mut [0; 64], &mut Vec::new()).unwrap().bytes, 0);
    drop(client);
}

#[test]
fn a_lane_that_ends_is_given_to_others() {
    let (mut lanes, epoll) = (Lanes::default(), Epoll::new().unwrap());
    let (_, _leaver) = lanes.open(Id(1), 0, 1, vec![HTTP]).unwrap();
    let client = send(&mut lanes, &epoll);
    let (_, _stayer) = lanes.open(Id(2), 1, 1, vec![HTTP]).unwrap();
    lanes.end_all(Id(1));
    assert_eq!(read_all_back(&mut lanes), 1);
    drop(client);
}

#[test]
fn at_the_end_everybody_keeps_what_is_his_and_a_late_word_changes_nothing() {
    let (mut lanes, epoll) = (Lanes::default(), Epoll::new().unwrap());
    let ends: Vec<_> = (0..2).map(|n| lanes.open(Id(n), n as usize, 1, vec![HTTP]).unwrap()).collect();
    let clients: Vec<_> = (0..10).map(|_| send(&mut lanes, &epoll)).collect();
    lanes.end_for_good(&BTreeSet::new());
    lanes.full(Id(0), ends[0].0);
    lanes.end_all(Id(0));
    assert_eq!(read_all_back(&mut lanes), 0);
    assert_eq!(ends.iter().map(|(_, end)| read(end)).collect::<Vec<_>>(), [5, 5]);
    drop(clients);
}

#[test]
fn a_lane_that_nobody_reads_is_forgotten_when_it_is_empty() {
    let (mut lanes, epoll) = (Lanes::default(), Epoll::new().unwrap());
    let (id, _end) = lanes.open(Id(1), 0, 1, vec![HTTP]).unwrap();
    let client = send(&mut lanes, &epoll);
    lanes.gone(Id(1), id);
    let (_, _other) = lanes.open(Id(1), 0, 1, vec![HTTP]).unwrap();
    assert_eq!(read_all_back(&mut lanes), 1);
    assert_eq!(lanes.lanes.len(), 1);
    drop(client);
}

#[test]
fn at_the_end_lanes_of_listeners_that_are_done_do_not_wait_for_the_others() {
    let (mut lanes, _) = (Lanes::default(), Epoll::new().unwrap());
    let (_, done) = lanes.open(Id(1), 0, 1, vec![HTTP]).unwrap();
    let (id, pending) = lanes.open(Id(2), 1, 1, vec![ListenerId(2)]).unwrap();
    lanes.disregard_limits();
    lanes.end_for_good(&BTreeSet::from([ListenerId(2)]));
    lanes.full(Id(2), id);
    assert!(lanes.has_room(ListenerId(2)), "who says that it is full has not heard that it is to go");
    let receive =
        |end: &OwnedFd| scm::receive(end, &mut [0; 64], &mut Vec::new()).map(|received| received.bytes);
    assert_eq!(receive(&done).unwrap(), 0);
    assert_eq!(receive(&pending).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

/// Mutation: hand on to a suspected worker, at a stop too; take it for one that could turn others' clients away.
#[test]
fn p32_a_suspected_workers_lanes_get_nothing_and_what_is_on_them_is_for_others() {
    let (mut lanes, epoll) = (Lanes::new(Overload::Refuse, Policy::RoundRobin), Epoll::new().unwrap());
    let (_, stalled) = lanes.open(Id(1), 0, 1, vec![HTTP]).unwrap();
    let clients = [send(&mut lanes, &epoll), send(&mut lanes, &epoll)];
    lanes.suspect(Id(1), true);
    assert!(!lanes.has_room(HTTP) && !lanes.is_overloaded(HTTP), "who comes waits in the backlog");
    assert_eq!(read_all_back(&mut lanes), 0);
    let (other, end) = lanes.open(Id(2), 1, 1, vec![HTTP]).unwrap();
    assert_eq!(read_all_back(&mut lanes), 2);
    lanes.full(Id(2), other);
    assert!(lanes.is_overloaded(HTTP), "there is nobody else");
    lanes.disregard_limits();
    let more = [send(&mut lanes, &epoll), send(&mut lanes, &epoll)];
    assert_eq!((read(&stalled), read(&end)), (0, 2));
    lanes.suspect(Id(1), false);
    let again = [send(&mut lanes, &epoll), send(&mut lanes, &epoll)];
    assert_eq!((read(&stalled), read(&end)), (1, 1));
    drop((clients, more, again));
}

/// Mutation: at a stop, leave out whoever is suspected.
#[test]
fn at_the_end_a_suspected_worker_is_better_than_none() {
    let (mut lanes, epoll) = (Lanes::default(), Epoll::new().unwrap());
    let (_, _end) = lanes.open(Id(1), 0, 1, vec![HTTP]).unwrap();
    lanes.suspect(Id(1), true);
    lanes.disregard_limits();
    assert!(send(&mut lanes, &epoll).is_some());
}

/// Mutation: look again for what is on a lane that was read to its end, as long as it is full.
#[test]
fn a_full_lane_that_was_read_to_its_end_is_not_looked_at_again_until_something_is_sent() {
    let (mut lanes, epoll) = (Lanes::default(), Epoll::new().unwrap());
    let (full, _end) = lanes.open(Id(1), 0, 1, vec![HTTP]).unwrap();
    lanes.full(Id(1), full);
    assert!(lanes.giving.is_empty(), "nothing was ever sent on it");
    lanes.room(Id(1), full);
    let first = send(&mut lanes, &epoll);
    lanes.full(Id(1), full);
    let (_, _other) = lanes.open(Id(2), 1, 1, vec![HTTP]).unwrap();
    assert_eq!((lanes.giving.len(), read_all_back(&mut lanes), lanes.giving.len()), (1, 1, 0));
    lanes.room(Id(1), full);
    let more = [send(&mut lanes, &epoll), send(&mut lanes, &epoll)];
    lanes.full(Id(1), full);
    assert_eq!(read_all_back(&mut lanes), 1, "one of the two was the other's");
    drop((first, more));
}

/// Whatever happens to lanes, they are found where a look at all of them would find them.
///
/// Mutation: leave a lane in one of the sets, or out, whatever has changed about it.
#[test]
fn lanes_are_found_where_a_look_at_all_of_them_would_find_them() {
    let (mut lanes, epoll) = (Lanes::new(Overload::Refuse, Policy::RoundRobin), Epoll::new().unwrap());
    let (mut ends, mut clients) = (Vec::new(), Vec::new());
    let other = ListenerId(2);
    let mut seed = 7_u64;
    for _ in 0..3000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let worker = Id((seed >> 40) % 5);
        let id = LaneId(1 + (seed >> 45) % (lanes.last + 1));
        match (seed >> 33) % 12 {
            0 if ends.len() < 24 => {
                let listeners = if seed >> 63 == 0 { vec![HTTP] } else { vec![HTTP, other] };
                ends.push(lanes.open(worker, worker.0 as usize, 1, listeners).unwrap());
            }
            1 => (1..=lanes.last).for_each(|id| lanes.full(worker, LaneId(id))),
            2 | 3 => (1..=lanes.last).for_each(|id| lanes.room(worker, LaneId(id))),
            4 => lanes.suspect(worker, true),
            5 => lanes.suspect(worker, false),
            6 if seed >> 60 == 0 => lanes.end(worker, id),
            7 if seed >> 60 == 0 => lanes.gone(worker, id),
            8 => lanes.writable(id, &epoll),
            9 => clients.push(lanes.read_back(Instant::now()).map(|connection| connection.socket)),
            _ => clients.push(send(&mut lanes, &epoll)),
        }
        for listener in [HTTP, other] {
            let serves = |lane: &&Lane| !lane.ended && !lane.silent && lane.listeners.contains(&listener);
            let serving: Vec<_> = lanes.lanes.values().filter(serves).collect();
            let full = !serving.is_empty() && serving.iter().all(|lane| lane.full || lane.crowded);
            assert_eq!(lanes.is_overloaded(listener), full);
            let ready = |lane: &&&Lane| !lane.full && !lane.crowded && lane.rest_until.is_none();
            assert_eq!(lanes.has_room(listener), serving.iter().any(|lane| ready(&lane)));
        }
        let first = lanes.lanes.values().filter_map(|lane| lane.rest_until).chain(lanes.read_back_at).min();
        assert_eq!(lanes.retries().min(), first);
        for worker in (0..5).map(Id) {
            let of_it = lanes.lanes.iter().filter(|(_, lane)| lane.worker == worker).map(|(id, _)| *id);
            assert_eq!(lanes.ids_of(worker), of_it.collect::<Vec<_>>());
        }
        let for_others = |lane: &Lane| lane.full || lane.silent || lane.left != Left::No;
        let giving =
            |(_, lane): &(&LaneId, &Lane)| lane.left == Left::Gone || for_others(lane) && !lane.empty;
        let giving: Vec<_> = lanes.lanes.iter().filter(giving).map(|(id, _)| *id).collect();
        assert_eq!(lanes.giving.iter().copied().collect::<Vec<_>>(), giving);
    }
    assert!(lanes.last > 20 && clients.iter().flatten().count() > 300, "little has happened");
}

/// Mutation: leave nothing to the primary while somebody accepts; or a slot's socket to whoever has another slot.
#[test]
fn what_nobody_with_room_accepts_from_by_himself_is_left_to_the_primary() {
    let mut lanes = Lanes::default();
    assert!(!lanes.leave_to_us(HTTP, None), "nobody would take it");
    let (first, _one) = lanes.open(Id(1), 0, 1, vec![HTTP]).unwrap();
    let (second, _other) = lanes.open(Id(2), 1, 1, vec![HTTP]).unwrap();
    assert!(lanes.leave_to_us(HTTP, None) && lanes.leave_to_us(HTTP, Some(0)));
    lanes.tend(Id(2), first, vec![HTTP]);
    assert!(lanes.leave_to_us(HTTP, Some(0)), "it is another's lane");
    lanes.tend(Id(1), first, vec![HTTP, ListenerId(9)]);
    assert!(lanes.leave_to_us(HTTP, None), "the other knows its lane only");
    assert!(!lanes.leave_to_us(HTTP, Some(0)) && lanes.leave_to_us(HTTP, Some(1)));
    lanes.tend(Id(2), second, vec![HTTP]);
    assert!(!lanes.leave_to_us(HTTP, None) && !lanes.leave_to_us(HTTP, Some(1)));
    lanes.full(Id(1), first);
    assert!(!lanes.leave_to_us(HTTP, None) && lanes.leave_to_us(HTTP, Some(0)));
    lanes.room(Id(1), first);
    lanes.suspect(Id(2), true);
    assert!(!lanes.leave_to_us(HTTP, Some(0)) && lanes.leave_to_us(HTTP, Some(1)));
    lanes.all_gone(Id(1));
    assert!(!lanes.leave_to_us(HTTP, Some(0)), "nobody has room: clients wait where they are");
}

/// What is never written on a row is no lane that nobody reads: whoever can't map its page says so when it listens. Mutation:
/// keep the row.
#[test]
fn who_counts_nothing_and_says_so_has_its_turns() {
    for (counts, fair) in [(true, false), (false, true)] {
        let (mut lanes, epoll) = (Lanes::default(), Epoll::new().unwrap());
        let row = rows::open(Id(0));
        assert!(row.is_some());
        if !counts {
            rows::close(Id(0));
        }
        let ends: Vec<_> = (0..2).map(|n| lanes.open(Id(n), n as usize, 1, vec![HTTP]).unwrap()).collect();
        let (mut clients, mut served) = (Vec::new(), [0, 0]);
        for n in 0..40 {
            clients.push(send(&mut lanes, &epoll).unwrap());
            for (served, (_, end)) in served.iter_mut().zip(&ends) {
                *served += read(end);
            }
            lanes.tick(Instant::now() + Duration::from_secs(n));
        }
        assert_eq!(served == [20, 20], fair, "{served:?} where it counts nothing and has a row: {counts}");
        rows::close_all();
    }
}
