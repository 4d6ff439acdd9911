//! A state in which everything occurs, part by part as it stands in the file.

use std::ffi::OsString;
use std::time::Duration;

use serde::Serialize;

use super::State;
use super::fleet::tests::sample;
use crate::event::Address;
use crate::fork::Fork;
use crate::ipc::bytes::Bytes;
use crate::ipc::message::{Key, Kind, Site};
use crate::primary::parts::Parts;

/// Encoded.
type Value = Vec<u8>;

fn v(value: impl Serialize) -> Value {
    rmp_serde::to_vec_named(&value).unwrap()
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let head = if N < 16 { vec![0x80 | N as u8] } else { vec![0xde, 0, N as u8] };
    fields.into_iter().fold(head, |map, (name, value)| [map, v(name), value].concat())
}

fn list<const N: usize>(values: [Value; N]) -> Value {
    values.into_iter().fold(vec![0x90 | N as u8], |list, value| [list, value].concat())
}

/// Not of this program's structures: what is read here is what stands in files that were written long ago.
fn parts() -> Value {
    let text = |text: &str| v(Bytes(text.into()));
    let outbox = |fd: Value| {
        let segment = map([("rest", text("half a frame")), ("fd", fd)]);
        map([("segments", list([segment])), ("written", v(4711)), ("closed", v(false))])
    };
    let intake = map([("rest", text("ha")), ("fds", v([Some(31), None])), ("greeted", v(true))]);
    let line = map([
        ("worker", v(12)),
        ("socket", v(30)),
        ("outbox", outbox(v(32))),
        ("intake", intake),
        ("open", v(true)),
    ]);
    let lane = map([
        ("id", v(7)),
        ("worker", v(14)),
        ("slot", v(3)),
        ("listeners", v([1])),
        ("tx", v(33)),
        ("rx", v(34)),
        ("full", v(false)),
        ("ended", v(true)),
        ("left", v("Leaving")),
    ]);
    let lanes =
        map([("lanes", list([lane])), ("turns", list([list([v(1), list([v(3), v(7)])])])), ("last", v(9))]);
    let address = || Address::Unix("/run/app.sock".into());
    let holder = map([
        ("worker", v(14)),
        ("slot", v(3)),
        ("times", v(2)),
        ("left", v(Some(Duration::from_millis(1500)))),
    ]);
    let listener = map([
        ("id", v(1)),
        ("socket", v(35)),
        ("address", v(address())),
        ("identity", v(u64::MAX)),
        ("holders", list([holder])),
        ("shared", v(false)),
        ("fixed", v(true)),
        ("file", list([v(OsString::from("/run/app.sock")), v(36)])),
    ]);
    let key = |site| Key { site, nth: 1, ipv6_only: Some(true), mode: Some(0o660) };
    let keys = [(key(Site::Address(address())), 1), (key(Site::Inherited(3, Kind::Datagram)), 2)];
    let listeners = map([("listeners", list([listener])), ("keys", v(keys)), ("last", v(2))]);
    let connection = map([("socket", v(37)), ("handoff", text("\x01\0\0\0"))]);
    let door = map([("waiting", list([connection])), ("lost", v(1))]);
    let tap = map([("worker", v(12)), ("stderr", v(true)), ("pipe", v(38)), ("begun", text("half a li"))]);
    let outputs = map([("taps", list([tap])), ("waiting", list([text("[12] a line\n"), text("")]))]);
    let child = map([("worker", v(12)), ("pid", v(4712)), ("pidfd", v(39))]);
    let tally = |received: u64| {
        let counts = [("received", v(received)), ("open", v(3)), ("served", v(u64::MAX)), ("lied", v(true))];
        map(counts)
    };
    let row = map([
        ("worker", v(14)),
        ("memory", v(42)),
        ("made", v(1u64 << 50)),
        ("last", v(63)),
        ("lanes", v([(7, 63)])),
        ("tally", tally(9)),
    ]);
    let rows = map([("rows", list([row])), ("past", tally(4711))]);
    let fork = || Fork::new().env("NAME", "value").cwd("/srv");
    map([
        ("name", v("a program")),
        ("program", v(OsString::from("/srv/current/app"))),
        ("blocked", v([13])),
        ("inherited", v([(3, 5u64, 1u64 << 40)])),
        ("activated", list([list([v("web"), v(41)])])),
        ("children", list([child])),
        ("leavers", list([map([("pid", v(4713)), ("pidfd", v(40))])])),
        ("lines", list([line])),
        ("lanes", lanes),
        ("listeners", listeners),
        ("door", door),
        ("outputs", outputs),
        ("announced", v([(14, 1)])),
        ("somebody_bound", v(true)),
        ("forks", v([(3, fork())])),
        ("wanted", v([(11, fork())])),
        ("asked", v(u64::MAX / 3)),
        ("rows", rows),
    ])
}

/// All of it.
pub(super) fn state() -> State {
    let parts: Parts = rmp_serde::from_slice(&parts()).unwrap();
    State { fleet: sample(), parts, refused: Some("it could not".into()) }
}

#[test]
fn the_sample_is_written_as_it_was_read() {
    assert_eq!(v(state().parts), parts());
    assert_eq!(state().parts.fds().count(), 13);
}
