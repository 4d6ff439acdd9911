//! Lanes over real sockets, without workers.

use super::*;

const HTTP: ListenerId = ListenerId(1);

fn connection() -> (Connection, OwnedFd) {
    let (socket, client) = scm::stream_pair().unwrap();
    (Connection { socket, listener: HTTP, peer: None }, client)
}

fn send(lanes: &mut Lanes, epoll: &Epoll) -> Option<OwnedFd> {
    let (connection, client) = connection();
    lanes.hand_off(connection, epoll, |id| id.0).ok().map(|()| client)
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
    let ends: Vec<_> = (0..3).map(|n| lanes.open(Id(n), n as usize, vec![HTTP]).unwrap()).collect();
    let clients: Vec<_> = (0..100).map(|_| send(&mut lanes, &epoll).unwrap()).collect();
    let counts: Vec<_> = ends.iter().map(|(_, end)| read(end)).collect();
    assert_eq!(counts, [34, 33, 33]);
    drop(clients);
}

#[test]
fn g1_what_a_dead_worker_had_not_read_comes_back() {
    let (mut lanes, epoll) = (Lanes::default(), Epoll::new().unwrap());
    let (_, end) = lanes.open(Id(1), 0, vec![HTTP]).unwrap();
    let clients: Vec<_> = (0..5).map(|_| send(&mut lanes, &epoll).unwrap()).collect();
    let mut fds = Vec::new();
    scm::receive(&end, &mut [0; 64], &mut fds).unwrap();
    drop(end);
    assert_eq!(lanes.reclaim(Id(1)).len(), 4);
    assert!(!lanes.has_room(HTTP));
    assert!(send(&mut lanes, &epoll).is_none());
    drop(clients);
}

#[test]
fn a_crowded_lane_is_passed_over_until_it_is_writable() {
    let (mut lanes, mut epoll) = (Lanes::default(), Epoll::new().unwrap());
    let (id, end) = lanes.open(Id(1), 0, vec![HTTP]).unwrap();
    let mut clients = Vec::new();
    while let Some(client) = send(&mut lanes, &epoll) {
        clients.push(client);
    }
    assert!(clients.len() > 50, "the kernel's queue holds {} only", clients.len());
    assert!(!lanes.has_room(HTTP));
    assert_eq!(read(&end), clients.len());
    assert_eq!(epoll.wait(None).unwrap(), [id.0]);
    assert_eq!(lanes.writable(id, &epoll), [HTTP]);
    assert!(send(&mut lanes, &epoll).is_some());
}

#[test]
fn n45_a_full_lane_gives_back_what_it_has_not_read() {
    let (mut lanes, epoll) = (Lanes::default(), Epoll::new().unwrap());
    let (id, _end) = lanes.open(Id(1), 0, vec![HTTP]).unwrap();
    let clients = [send(&mut lanes, &epoll), send(&mut lanes, &epoll)];
    assert_eq!(lanes.full(Id(1), id).len(), 2);
    assert!(!lanes.has_room(HTTP));
    assert!(lanes.room(Id(2), id).is_empty(), "another worker's word does not count");
    assert_eq!(lanes.room(Id(1), id), [HTTP]);
    drop(clients);
}

#[test]
fn an_ended_lane_is_read_to_its_end_or_given_to_others() {
    let (mut lanes, epoll) = (Lanes::default(), Epoll::new().unwrap());
    let (_, alone) = lanes.open(Id(1), 0, vec![HTTP]).unwrap();
    let client = send(&mut lanes, &epoll);
    assert!(lanes.end_all(Id(1)).is_empty());
    assert_eq!(read(&alone), 1);
    assert_eq!(scm::receive(&alone, &mut [0; 64], &mut Vec::new()).unwrap().bytes, 0);

    let (_, _second) = lanes.open(Id(2), 1, vec![HTTP]).unwrap();
    let other = send(&mut lanes, &epoll);
    let (_, _third) = lanes.open(Id(3), 2, vec![HTTP]).unwrap();
    assert_eq!(lanes.end_all(Id(2)).len(), 1);
    drop((client, other));
}
