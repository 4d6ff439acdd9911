//! How a program learns that it runs only to be asked whether it could take the primary's place, and what it answers.
//!
//! As with a [birth](super::birth): no variable and no argument says so. The program finds a stream socket that its own parent
//! made and in which a check waits; whatever it finds out about itself then, it answers there and ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::channel::{BUILD, decode};
use super::frame::{self, Decoder, Head, Kind};
use super::message::PROTOCOL;
use crate::sys::exec::{self, Inherited};
use crate::sys::{memfd, process, scm};

/// What is asked. The state as it is now comes with it, as a descriptor.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Check {
    /// The pid its parent must have.
    primary: u32,
    /// What the workers that live speak.
    protocol: u64,
}

/// What is answered where nothing is in the way.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Fit {
    pub(crate) build: String,
    pub(crate) protocol: u64,
    /// The version of the state that it writes itself.
    pub(crate) state: u32,
}

/// The largest question and the largest answer, each with its frame's head: both fit into a new socket.
const LARGEST: usize = 4096;

/// How much of a reason is told.
const LONGEST_WORDS: usize = 1000;

/// Asks, on a socket on which nothing has been said before.
pub(crate) fn ask(socket: impl AsFd, state: impl AsFd) -> io::Result<()> {
    let check = Check { primary: std::process::id(), protocol: PROTOCOL };
    say(
        socket,
        Kind::Check,
        &rmp_serde::to_vec_named(&check).map_err(io::Error::other)?,
        Some(&state.as_fd()),
    )
}

/// What was answered, once the process has ended. `Err` says what else there was.
pub(crate) fn answer(socket: impl AsFd) -> Result<Fit, String> {
    let mut decoder = Decoder::default();
    let mut fds = Vec::new();
    let mut length = 0;
    loop {
        let received = match scm::receive(&socket, decoder.room(), &mut fds) {
            Ok(received) => received.bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // It has ended without a look at the question.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(format!("its answer could not be read: {error}")),
        };
        decoder.filled(received);
        length += received;
        if received == 0 || length > LARGEST {
            break;
        }
    }
    let frame = decoder.next();
    match frame.map_err(|error| format!("it answered what the primary can't read: {error}"))? {
        None if length == 0 => Err("it did not answer".into()),
        _ if length > LARGEST => Err(format!("its answer is longer than {LARGEST} bytes")),
        Some(frame) if length > frame::size_of(&frame) => Err("it answered more than once".into()),
        Some(frame) if frame.head.kind == Kind::Refusal => {
            Err(String::from_utf8_lossy(&frame.body).into_owned())
        }
        Some(frame) if frame.head.kind == Kind::Check => {
            let fit: Fit = decode(&frame.body)
                .map_err(|error| format!("it answered what the primary can't read: {error}"))?;
            match fit.protocol {
                PROTOCOL => Ok(fit),
                protocol => Err(speaks(&fit.build, protocol, BUILD, PROTOCOL)),
            }
        }
        _ => Err("it answered something else".into()),
    }
}

/// In a process that is asked.
#[derive(Debug)]
pub(crate) struct Asked {
    check: Check,
    socket: OwnedFd,
    /// As it was when it was asked.
    pub(crate) state: Vec<u8>,
}

/// Whether this process is, and what.
pub(crate) fn take() -> io::Result<Option<Asked>> {
    let Some(((check, length), socket)) = exec::take(read)? else { return Ok(None) };
    let mut fds = Vec::new();
    scm::receive(&socket, &mut [0; LARGEST][..length], &mut fds)?;
    let state = fds.pop().ok_or_else(|| io::Error::other("the state did not arrive"))?;
    Ok(Some(Asked { check, socket, state: memfd::read(state)? }))
}

impl Asked {
    /// Answers, and ends this process: nothing else is done in it.
    pub(crate) fn answer(self, found: Result<u32, String>) -> ! {
        let found = match self.check.protocol {
            PROTOCOL => found,
            // The workers that live would not be understood.
            protocol => Err(speaks(BUILD, PROTOCOL, "the one that runs", protocol)),
        };
        let told = match found {
            Ok(state) => rmp_serde::to_vec_named(&Fit { build: BUILD.into(), protocol: PROTOCOL, state })
                .map_err(io::Error::other)
                .and_then(|fit| say(&self.socket, Kind::Check, &fit, None)),
            Err(why) => {
                let words: String = why.chars().take(LONGEST_WORDS).collect();
                say(&self.socket, Kind::Refusal, words.as_bytes(), None)
            }
        };
        process::exit_now(i32::from(told.is_err()))
    }
}

fn speaks(new: &str, its: u64, old: &str, ours: u64) -> String {
    format!(
        "it speaks version {its} of the cluster's protocol ({new}), and this cluster version {ours} ({old}): stop this cluster, \
         and start that program anew"
    )
}

fn say(
    socket: impl AsFd,
    kind: Kind,
    body: &[u8],
    fd: Option<&std::os::fd::BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, Head::of(kind, 0), fd.is_some(), body);
    match scm::send(socket, &bytes, fd.copied())? {
        sent if sent == bytes.len() => Ok(()),
        _ => Err(io::Error::other("a new socket did not take the first message")),
    }
}

/// The check that waits in a socket, and the length of its frame.
fn read(socket: &Inherited<'_>) -> Option<(Check, usize)> {
    let mut bytes = [0; LARGEST];
    let bytes = socket.peek(&mut bytes).ok()?;
    let mut decoder = Decoder::default();
    decoder.fill(bytes);
    let frame = decoder.next().ok()?.filter(|frame| frame.head.kind == Kind::Check)?;
    let check: Check = decode(&frame.body).ok().filter(|check: &Check| check.primary == socket.maker)?;
    if process::parent() != check.primary {
        if socket.is_hung_up().ok()? {
            // The primary died before this process could look, and it must not become one itself.
            process::exit_now(0);
        }
        return None;
    }
    Some((check, frame::size_of(&frame)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(bytes: &[u8]) -> Result<Fit, String> {
        let (ours, theirs) = scm::stream_pair().unwrap();
        scm::send(&theirs, bytes, None).unwrap();
        drop(theirs);
        answer(ours)
    }

    fn frame(kind: Kind, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, Head::of(kind, 0), false, body);
        bytes
    }

    #[test]
    fn p86_whatever_is_answered_is_an_answer_or_says_what_is_wrong() {
        let fit = |protocol| {
            let fit = Fit { build: "other".into(), protocol, state: 2 };
            frame(Kind::Check, &rmp_serde::to_vec_named(&fit).unwrap())
        };
        assert_eq!(answered(&fit(PROTOCOL)).unwrap().build, "other");
        for (bytes, told) in [
            (vec![], "did not answer"),
            (fit(PROTOCOL)[..10].to_vec(), "something else"),
            (fit(99), "version 99 of the cluster's protocol (other)"),
            (frame(Kind::Refusal, b"no such user"), "no such user"),
            (frame(Kind::Check, b"\xc1"), "can't read"),
            (frame(Kind::User, b"x"), "something else"),
            ([fit(PROTOCOL), fit(PROTOCOL)].concat(), "more than once"),
            (frame(Kind::Refusal, &vec![b'x'; LARGEST]), "longer than"),
            (vec![0xff; 100], "can't read"),
        ] {
            let error = answered(&bytes).unwrap_err();
            assert!(error.contains(told), "{error:?} instead of {told:?}");
        }
    }
}
