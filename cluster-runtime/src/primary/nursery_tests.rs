//! The primary's side of a nursery, with a child in its place that is none.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Mutation: forget the deadline of one that was killed for being late.
#[test]
fn one_that_was_late_is_reaped_although_somebody_else_has_its_socket() {
    let began = Instant::now();
    // Theirs stays open: preload has forked somebody who has it, too.
    let (ours, _theirs) = scm::packet_pair().unwrap();
    let mut program = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let epoll = Epoll::new().unwrap();
    let mut nursery = Nursery::new(1);
    nursery.process = Some(Process {
        child: Child::or_end(program.id()).unwrap(),
        socket: ours,
        ready: false,
        within: SECOND,
        started: began,
        late: false,
        words: None,
        deaf_since: None,
        ended: None,
        heard: false,
    });
    nursery.watch(&epoll).unwrap();
    let late = began + SECOND;
    assert_eq!(nursery.deadline(), Some(late));
    assert!(!nursery.tick(late));
    assert_eq!(nursery.deadline(), None, "its end is an event");
    assert!(!program.wait().unwrap().success());
    assert!(nursery.hear(late).is_none());
    assert!(nursery.awaits_newborns(&epoll, late).unwrap(), "they may be about to speak");
    assert_eq!(nursery.deadline(), Some(late + END_WITHIN), "and of their silence no event tells");
    assert!(nursery.is_to_be_reaped(late + END_WITHIN));
}
