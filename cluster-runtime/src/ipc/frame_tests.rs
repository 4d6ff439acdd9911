//! Frames: cut anywhere, damaged anywhere, hostile.

use super::*;

fn push(decoder: &mut Decoder, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let room = decoder.room();
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        decoder.filled(count);
        bytes = &bytes[count..];
    }
}

fn stream() -> (Vec<u8>, Vec<Frame>) {
    let frame = |head, has_fd, body: &[u8]| Frame { head, has_fd, body: body.to_vec() };
    let frames = vec![
        frame(Head::of(Kind::Hello, 2), false, b"cluster"),
        frame(Head::CONTROL, true, &[1, 2, 3]),
        frame(Head::USER, false, &[]),
        frame(Head::of(Kind::Ask, u64::MAX), false, &[5]),
        frame(Head::of(Kind::Answer, 7), false, &[6, 7]),
        frame(Head::of(Kind::Refusal, 8), false, b"no"),
        frame(Head::relay(ALL, 9), false, &[0xc0]),
        frame(Head::USER, true, &[9; 70]),
    ];
    let mut bytes = Vec::new();
    for frame in &frames {
        encode(&mut bytes, frame.head, frame.has_fd, &frame.body);
    }
    (bytes, frames)
}

/// All that can be read of these bytes, and what broke it.
fn read(bytes: &[u8]) -> (Vec<Frame>, Option<Broken>) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    push(&mut decoder, bytes);
    loop {
        match decoder.next() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(broken) => return (frames, Some(broken)),
        }
    }
}

#[test]
fn split_anywhere_and_coalesced_the_frames_are_the_same() {
    let (mut bytes, mut expected) = stream();
    let large = Frame { head: Head::USER, has_fd: false, body: vec![3; 300_000] };
    encode(&mut bytes, large.head, false, &large.body);
    expected.push(large);
    for piece in [1, 2, 7, 15, 16, 17, 4096, bytes.len()] {
        let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            push(&mut decoder, piece);
            while let Some(frame) = decoder.next().unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, expected);
    }
}

#[test]
fn a_hostile_length_is_refused_at_its_header() {
    for len in [MAX_BODY + 1, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_ffff] {
        let mut bytes = vec![0; HEADER];
        bytes[..4].copy_from_slice(&(len as u32).to_le_bytes());
        assert_eq!(read(&bytes), (vec![], Some(Broken::TooLong { len })));
    }
}

/// Mutation: reserve the announced length.
#[test]
fn memory_is_taken_for_what_has_come_and_given_back() {
    let mut decoder = Decoder::default();
    let mut header = vec![0; HEADER];
    header[..4].copy_from_slice(&(MAX_BODY as u32).to_le_bytes());
    push(&mut decoder, &header);
    assert_eq!(decoder.next(), Ok(None));
    assert!(decoder.bytes.capacity() <= 2 * READ, "{} for a header", decoder.bytes.capacity());
    push(&mut decoder, &[0; 1000]);
    assert!(decoder.bytes.capacity() <= 2 * READ, "{} for 1016 bytes", decoder.bytes.capacity());
    push(&mut decoder, &vec![0; MAX_BODY - 1000]);
    assert!(decoder.next().unwrap().is_some());
    push(&mut decoder, &[0; HEADER]);
    assert!(decoder.bytes.capacity() <= 2 * READ, "{} are kept", decoder.bytes.capacity());
}

/// Mutations: ask for 64 KiB from the first read on; never ask for more than at first.
#[test]
fn a_channel_that_carries_little_has_little_room_and_one_that_is_full_more() {
    let (bytes, frames) = stream();
    let mut decoder = Decoder::default();
    for _ in 0..100 {
        push(&mut decoder, &bytes);
        let read = std::iter::from_fn(|| decoder.next().unwrap()).count();
        assert_eq!(read, frames.len());
    }
    assert!(decoder.bytes.capacity() <= 2 * FIRST_READ, "{} for a few frames", decoder.bytes.capacity());
    let full = vec![0; decoder.room().len()];
    push(&mut decoder, &full);
    assert!(decoder.room().len() >= READ, "{} after a read that came back full", decoder.room().len());
}

#[test]
fn what_is_not_this_protocol_is_an_error_and_no_panic() {
    let header = |at: usize, byte: u8| {
        let mut bytes = [0; HEADER];
        bytes[at] = byte;
        read(&bytes).1
    };
    assert_eq!(header(4, 77), Some(Broken::UnknownKind(77)));
    assert_eq!(header(5, 2), Some(Broken::TooManyFds(2)));
    assert_eq!(header(6, 1), Some(Broken::Header(Kind::Control)));
    assert_eq!(header(15, 1), Some(Broken::Header(Kind::Control)));
}

#[test]
fn cut_anywhere_it_yields_what_was_whole() {
    let (bytes, frames) = stream();
    for length in 0..bytes.len() {
        let (read, broken) = read(&bytes[..length]);
        assert_eq!(broken, None);
        assert_eq!(read[..], frames[..read.len()]);
    }
}

/// One bit is wrong: a frame before it is as it was, and those behind it too unless a length was hit or the stream is refused.
#[test]
fn any_bit_flipped_harms_its_frame_or_ends_the_stream() {
    let (bytes, frames) = stream();
    let starts: Vec<usize> = frames
        .iter()
        .scan(0, |at, frame| {
            let start = *at;
            *at += HEADER + frame.body.len();
            Some(start)
        })
        .collect();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let hit = starts.partition_point(|start| *start <= bit / 8) - 1;
        let (read, broken) = read(&bytes);
        assert_eq!(read[..hit], frames[..hit], "bit {bit}");
        if broken.is_none() && bit / 8 - starts[hit] >= 4 {
            assert_eq!(read.len(), frames.len(), "bit {bit}");
            assert_eq!(read[hit + 1..], frames[hit + 1..], "bit {bit}");
            assert_ne!(read[hit], frames[hit], "bit {bit}");
        }
    }
}
