//! A channel, both ways.

use serde::Serialize;

use super::*;

fn encoded(message: &impl Serialize) -> Vec<u8> {
    Encoded::new(message).unwrap().into_bytes()
}

/// Posts a user's message, and writes what the socket takes.
fn send(outbox: &mut Outbox, socket: impl AsFd, body: &[u8]) -> Result<(), SendError> {
    outbox.post(Head::USER, body, None).map_err(|refused| refused.error)?;
    outbox.flush(socket).map_err(|_| SendError::Closed)
}

#[test]
fn both_ways_full_nobody_blocks_and_everything_arrives_in_order() {
    let (a, b) = scm::stream_pair().unwrap();
    let (mut to_b, mut to_a) = (Outbox::default(), Outbox::default());
    let big = "x".repeat(300_000);
    for n in 0..20u32 {
        send(&mut to_b, &a, &encoded(&(n, &big))).unwrap();
        send(&mut to_a, &b, &encoded(&(n, &big))).unwrap();
    }
    assert!(to_b.is_waiting() && to_a.is_waiting());
    for (outbox, from, to) in [(&mut to_b, &a, &b), (&mut to_a, &b, &a)] {
        let (mut intake, mut expected) = (Intake::default(), 0);
        while expected < 20 {
            outbox.flush(from).unwrap();
            while intake.read(to).unwrap() == Read::Some {}
            while let Some(packet) = intake.next().unwrap() {
                let (n, body): (u32, String) = decode(&packet.body).unwrap();
                assert_eq!((n, body.len()), (expected, big.len()));
                expected += 1;
            }
        }
    }
}

#[test]
fn a_backlog_has_a_limit_and_a_message_has_one() {
    let (a, _b) = scm::stream_pair().unwrap();
    let mut outbox = Outbox::default();
    let large = vec![1u64; MAX_BODY];
    assert!(matches!(Encoded::new(&large), Err(SendError::TooLarge { .. })));
    let half = "x".repeat(MAX_BODY / 2);
    let sent = (0..100).take_while(|_| send(&mut outbox, &a, &encoded(&half)).is_ok()).count();
    assert!((4..8).contains(&sent), "{sent} half-limit messages were taken");
    assert!(matches!(send(&mut outbox, &a, &encoded(&half)), Err(SendError::Full)));
}

#[test]
fn what_was_written_is_freed_though_something_always_waits() {
    let (a, b) = scm::stream_pair().unwrap();
    let (mut outbox, mut intake) = (Outbox::default(), Intake::default());
    let message = encoded(&"x".repeat(100_000));
    for _ in 0..500 {
        send(&mut outbox, &a, &message).unwrap();
        while outbox.waiting > 3_000_000 {
            intake.read(&b).unwrap();
            while intake.next().unwrap().is_some() {}
            outbox.flush(&a).unwrap();
        }
    }
    let held: usize = outbox.segments.iter().map(|segment| segment.bytes.capacity()).sum();
    assert!(held < 8_000_000, "{held} bytes are held for {} that wait", outbox.waiting);
}

#[test]
fn a_descriptor_stays_with_its_frame_between_others() {
    let (a, b) = scm::stream_pair().unwrap();
    let (lane, other) = scm::packet_pair().unwrap();
    let mut outbox = Outbox::default();
    outbox.post_ours(Head::CONTROL, &encoded(&1u8), None).unwrap();
    outbox.post_ours(Head::CONTROL, &encoded(&2u8), Some(lane)).unwrap();
    outbox.post_ours(Head::CONTROL, &encoded(&3u8), None).unwrap();
    outbox.flush(&a).unwrap();
    let mut intake = Intake::default();
    while intake.read(&b).unwrap() == Read::Some {}
    let mut with_fd = Vec::new();
    while let Some(packet) = intake.next().unwrap() {
        if let Some(fd) = packet.fd {
            scm::send(&fd, b"!", None).unwrap();
            with_fd.push(decode::<u8>(&packet.body).unwrap());
        }
    }
    assert_eq!(with_fd, [2]);
    assert_eq!(scm::receive(&other, &mut [0; 4], &mut Vec::new()).unwrap().bytes, 1);
}

#[test]
fn the_end_is_told_after_the_last_words() {
    let (a, b) = scm::stream_pair().unwrap();
    send(&mut Outbox::default(), &a, &encoded(&"bye")).unwrap();
    drop(a);
    let mut intake = Intake::default();
    assert_eq!(intake.read(&b).unwrap(), Read::Some);
    assert_eq!(intake.read(&b).unwrap(), Read::End);
    assert_eq!(decode::<String>(&intake.next().unwrap().unwrap().body).unwrap(), "bye");
    assert!(matches!(send(&mut Outbox::default(), &b, &encoded(&1)), Err(SendError::Closed)));
}

fn said(bytes: &[u8]) -> io::Result<Option<Packet>> {
    let (a, b) = scm::stream_pair().unwrap();
    scm::send(&a, bytes, None).unwrap();
    let mut intake = Intake::default();
    while intake.read(&b)? == Read::Some {}
    intake.next()
}

fn frame(head: Head, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, head, false, body);
    bytes
}

/// Mutation: take any version.
#[test]
fn another_version_is_one_error_that_names_both() {
    let error = said(&frame(Head::of(Kind::Hello, 7), b"cluster 9.9.9")).unwrap_err().to_string();
    let both = ["version 7", "cluster 9.9.9", &format!("version {PROTOCOL}"), BUILD];
    assert!(both.iter().all(|part| error.contains(part)), "{error}");
    // A name of any length is cut, and one that is no text is shown all the same.
    let error = said(&frame(Head::of(Kind::Hello, 7), &[0xff; 4000])).unwrap_err().to_string();
    assert!(error.len() < 2000, "{error}");
}

/// Mutation: let a channel begin without a hello, or take two.
#[test]
fn a_hello_comes_first_and_once() {
    let hello = frame(Head::of(Kind::Hello, PROTOCOL), b"");
    assert!(said(&frame(Head::USER, b"hi")).is_err());
    assert!(said(&[&hello[..], &hello].concat()).is_err());
    assert_eq!(said(&[hello, frame(Head::USER, b"hi")].concat()).unwrap().unwrap().body, b"hi");
}

/// Mutation: let descriptors wait without a limit.
#[test]
fn descriptors_that_wait_have_a_limit_and_come_back() {
    let (a, b) = scm::stream_pair().unwrap();
    let mut outbox = Outbox::default();
    let fd = || Some(rustix::io::dup(&b).unwrap());
    let sent = (0..1000).take_while(|_| outbox.post(Head::USER, &[0], fd()).is_ok()).count();
    assert_eq!(sent, MOST_FDS);
    let refused = outbox.post(Head::USER, &[0], fd()).unwrap_err();
    assert!(refused.error == SendError::Full && refused.fd.is_some());
    assert!(outbox.post(Head::USER, &[0], None).is_ok(), "without one there is room");
    outbox.flush(&a).unwrap();
    assert!(outbox.post(Head::USER, &[0], fd()).is_ok());
}
