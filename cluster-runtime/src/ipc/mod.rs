//! How primary and worker talk: the only place where the two meet.

pub(crate) mod birth;
pub(crate) mod bytes;
pub(crate) mod channel;
pub(crate) mod check;
pub(crate) mod codec;
pub(crate) mod frame;
pub(crate) mod message;

/// What cargo fuzz calls: whatever bytes come, on the channel or within a frame, there is no panic, and no memory is taken
/// for what did not come.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let mut decoder = frame::Decoder::default();
    for piece in bytes.chunks(1 + bytes.len() / 3) {
        let room = decoder.room();
        let count = room.len().min(piece.len());
        room[..count].copy_from_slice(&piece[..count]);
        decoder.filled(count);
        while let Ok(Some(frame)) = decoder.next() {
            read(&frame.body);
        }
    }
    read(bytes);
}

#[cfg(fuzzing)]
fn read(body: &[u8]) {
    // Whether it is a message is not the question here.
    let _ = codec::decode::<message::ToPrimary>(body);
    let _ = codec::decode::<message::ToWorker>(body);
    let _ = codec::decode::<Vec<message::Untold>>(body);
    let _ = codec::decode::<codec::Coded<codec::MessagePack, String>>(body);
    let _ = message::Handoff::decode(body);
}
