//! Messages of every shape, and bytes that are none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::*;
use crate::event::Address;
use crate::ipc::message::{BoundTo, Call, Key, LaneId, ListenerId, Site, ToPrimary, ToWorker, WireError};

/// Each shape of serde's data model once.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Everything {
    integers: (i8, i16, i32, i64, u8, u16, u32, u64),
    wide: (i128, u128),
    floats: (f32, f64),
    truth: bool,
    letter: char,
    text: String,
    bytes: Vec<u8>,
    nothing: (),
    unit: Unit,
    new: New,
    pair: Pair,
    maybe: Option<Option<u8>>,
    choices: Vec<Choice>,
    map: BTreeMap<String, Vec<i64>>,
    by_number: BTreeMap<u32, String>,
    set: BTreeSet<char>,
    result: Result<u8, String>,
    time: Duration,
    address: IpAddr,
    boxed: Option<Box<Everything>>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Unit;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct New(u64);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Pair(String, i8);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
enum Choice {
    Unit,
    New(String),
    Tuple(u8, f64),
    Struct { name: String, id: Option<u32> },
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        Just(Choice::Unit),
        any::<String>().prop_map(Choice::New),
        (any::<u8>(), any::<f64>()).prop_map(|(a, b)| Choice::Tuple(a, b)),
        (any::<String>(), any::<Option<u32>>()).prop_map(|(name, id)| Choice::Struct { name, id }),
    ]
}

fn everything() -> impl Strategy<Value = Everything> {
    let numbers =
        (any::<(i8, i16, i32, i64, u8, u16, u32, u64)>(), any::<(i128, u128)>(), any::<(f32, f64)>());
    let small = (any::<bool>(), any::<char>(), any::<String>(), vec(any::<u8>(), 0..300), any::<u64>());
    let many = (
        vec(choice(), 0..4),
        btree_map(any::<String>(), vec(any::<i64>(), 0..3), 0..4),
        btree_map(any::<u32>(), any::<String>(), 0..4),
        btree_set(any::<char>(), 0..4),
    );
    // `Some(None)` is the one value that MessagePack, as JSON, can't tell from `None`.
    let rest = (
        any::<Option<u8>>().prop_map(|some| some.map(Some)),
        any::<Result<u8, String>>(),
        any::<Duration>(),
        any::<IpAddr>(),
    );
    (numbers, small, many, rest, any::<(String, i8)>()).prop_map(|(numbers, small, many, rest, pair)| {
        let (integers, wide, floats) = numbers;
        let (truth, letter, text, bytes, new) = small;
        let (choices, map, by_number, set) = many;
        let (maybe, result, time, address) = rest;
        let (unit, new, pair, boxed) = (Unit, New(new), Pair(pair.0, pair.1), None);
        #[rustfmt::skip]
        let inner = Everything {
            integers, wide, floats, truth, letter, text, bytes, nothing: (), unit, new, pair, maybe, choices, map,
            by_number, set, result, time, address, boxed,
        };
        Everything { boxed: Some(Box::new(inner.clone())), ..inner }
    })
}

/// Another codec, for [`Coded`]: MessagePack without names, backwards.
enum Backwards {}

impl Codec for Backwards {
    fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, String> {
        let mut bytes = rmp_serde::to_vec(message).map_err(|error| error.to_string())?;
        bytes.reverse();
        Ok(bytes)
    }

    fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, String> {
        let bytes: Vec<u8> = bytes.iter().rev().copied().collect();
        rmp_serde::from_slice(&bytes).map_err(|error| error.to_string())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Mutation: read a `Coded` by MessagePack itself.
    #[test]
    fn n02_r11_every_shape_survives_its_way(message in everything()) {
        let bytes = Encoded::new(&message).unwrap().into_bytes();
        prop_assert_eq!(&decode::<Everything>(&bytes).unwrap(), &message);
        let bytes = Encoded::new(&Coded::<Backwards, _>::new(message.clone())).unwrap().into_bytes();
        prop_assert_eq!(decode::<Coded<Backwards, Everything>>(&bytes).unwrap().into_inner(), message);
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error(bytes in vec(any::<u8>(), 0..200)) {
        read_as_anything(&bytes);
    }
}

fn read_as_anything(bytes: &[u8]) {
    let _ = decode::<ToPrimary>(bytes);
    let _ = decode::<ToWorker>(bytes);
    let _ = decode::<Everything>(bytes);
    let _ = decode::<Coded<Backwards, Everything>>(bytes);
}

/// One of each, encoded.
fn recorded() -> Vec<Vec<u8>> {
    let call = Call(7);
    let site = Site::Address(Address::Unix("/run/a".into()));
    let key = Key { site, nth: 1, ipv6_only: Some(true), mode: Some(0o660) };
    let address: SocketAddr = "127.0.0.1:8000".parse().unwrap();
    let bound = BoundTo { listener: ListenerId(1), address: Address::Tcp(address) };
    let error: WireError = (&std::io::Error::from_raw_os_error(98)).into();
    let encoded = |message: &dyn Fn() -> Result<Encoded, SendError>| message().unwrap().into_bytes();
    let to_primary = [
        ToPrimary::Online,
        ToPrimary::Bind { call, key, backlog: 1024 },
        ToPrimary::Unbind { listener: ListenerId(1) },
        ToPrimary::Adopt { call },
        ToPrimary::Listen {
            call,
            listeners: vec![ListenerId(0), ListenerId(3)],
            by_itself: true,
            counts: true,
        },
        ToPrimary::Full { lane: LaneId(5) },
        ToPrimary::Room { lane: LaneId(5) },
        ToPrimary::Unlisten { lane: LaneId(5) },
        ToPrimary::Gone { lane: LaneId(5) },
        ToPrimary::Ready,
        ToPrimary::Proven,
        ToPrimary::Leave { voluntary: true },
        ToPrimary::Stderr,
    ];
    let to_worker = [
        ToWorker::Bound { call, result: Ok(bound) },
        ToWorker::Bound { call, result: Err(error) },
        ToWorker::Lane { call, result: Ok(LaneId(9)), line: Some(63) },
        ToWorker::Drain { within_ms: 30_000 },
    ];
    let to_primary = to_primary.iter().map(|message| encoded(&|| Encoded::new(message)));
    to_primary.chain(to_worker.iter().map(|message| encoded(&|| Encoded::new(message)))).collect()
}

#[test]
fn our_own_messages_cut_or_damaged_are_an_error_or_another_message_and_no_panic() {
    for bytes in recorded() {
        for length in 0..bytes.len() {
            read_as_anything(&bytes[..length]);
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            read_as_anything(&bytes);
        }
    }
}

/// Mutation: trust a length within a message.
#[test]
fn a_length_within_a_message_takes_no_memory() {
    // An array, a map, a string and bytes of 4 GiB each, of which nothing comes.
    for kind in [0xdd, 0xdf, 0xdb, 0xc6] {
        let bytes = [kind, 0xff, 0xff, 0xff, 0xff];
        assert!(decode::<Vec<u64>>(&bytes).is_err());
        assert!(decode::<BTreeMap<u64, u64>>(&bytes).is_err());
        assert!(decode::<String>(&bytes).is_err());
        assert!(decode::<Vec<u8>>(&bytes).is_err());
        read_as_anything(&bytes);
    }
    // Arrays in arrays, deeper than any stack.
    assert!(decode::<Everything>(&[0x91; 1 << 20]).is_err());
}
