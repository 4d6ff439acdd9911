//! The file: every version of it, and whatever may be given instead.

use std::path::PathBuf;

use proptest::prelude::*;
use serde::Serialize;

use super::super::fleet::tests::restored;
use super::super::sample::state;
use super::super::{State, VERSION};
use super::*;
use crate::primary::step::Input;

const HEAD: Header = Header { version: VERSION, returned: true, pid: 4711, image: 9 };

/// What a version of this program has written. With UPDATE_FIXTURES it is written anew, which is right only for a version
/// that nobody has yet.
fn fixture(version: u32, expected: &[u8]) -> Vec<u8> {
    let name = format!("src/primary/saved/fixtures/state-{version}.bin");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    std::fs::read(path).unwrap()
}

fn whole() -> Vec<u8> {
    write(&HEAD, &state().encode().unwrap())
}

/// As the new image does it.
fn load(file: &[u8]) -> Result<(Header, State), String> {
    let (header, body) = read(file)?;
    Ok((header, State::decode(body)?))
}

#[test]
fn p101_a_state_of_version_1_has_defaults_for_what_it_lacks() {
    let state = State { fleet: state().fleet.of_version_1(), ..state().of_version(2) };
    let header = Header { version: 1, ..HEAD };
    let file = fixture(1, &write(&header, &state.encode().unwrap()));
    assert_eq!(load(&file).unwrap(), (header, state));
}

/// Mutation: leave the board in what an image is given that has none.
#[test]
fn p101_a_state_of_version_2_has_no_board() {
    let state = State { parts: state().of_version(2).parts, ..state() };
    let header = Header { version: 2, ..HEAD };
    let file = fixture(2, &write(&header, &state.encode().unwrap()));
    assert_eq!(load(&file).unwrap(), (header, state));
    assert!(super::super::sample::state().of_version(2).parts.rows.is_empty());
    assert_eq!(super::super::sample::state().of_version(3), super::super::sample::state());
}

#[test]
fn p103_a_state_of_version_3_is_written_as_it_was_read() {
    let file = fixture(3, &whole());
    let (header, read) = load(&file).unwrap();
    assert_eq!((header, &read), (HEAD, &state()));
    assert_eq!(write(&header, &read.encode().unwrap()), file);
    assert_eq!(whole(), file, "the version has changed and has no number of its own");
}

#[test]
fn p102_a_newer_version_is_refused_but_says_where_to_go_back_to() {
    let header = Header { version: VERSION + 1, ..HEAD };
    let file = write(&header, b"who knows");
    let error = load(&file).unwrap_err();
    assert_eq!(
        error,
        format!("the state is of version {}, and this program reads 1 to {VERSION}", VERSION + 1)
    );
    assert_eq!(super::header(&file), Ok(header));
    assert!(load(&write(&Header { version: 0, ..HEAD }, b"")).unwrap_err().contains("version 0"));
}

#[test]
fn p102_what_a_later_version_has_more_is_passed_over() {
    let mut body = state().encode().unwrap();
    // A map of one field more.
    assert!((0x81..0x8f).contains(&body[0]));
    body[0] += 1;
    body.extend_from_slice(b"\xa5later\x93\x01\xc0\xa3yes");
    assert_eq!(load(&write(&HEAD, &body)).unwrap().1, state());
}

#[test]
fn p102_what_is_required_and_missing_is_missed() {
    #[derive(Serialize)]
    struct Less {
        fleet: Nothing,
    }
    #[derive(Serialize)]
    struct Nothing {
        last_id: u64,
    }
    for body in [
        rmp_serde::to_vec_named(&Nothing { last_id: 1 }),
        rmp_serde::to_vec_named(&Less { fleet: Nothing { last_id: 1 } }),
    ] {
        let error = load(&write(&HEAD, &body.unwrap())).unwrap_err();
        assert!(error.contains("missing field"), "{error}");
    }
}

#[test]
fn p94_cut_off_anywhere() {
    let file = whole();
    for length in 0..file.len() {
        assert!(load(&file[..length]).is_err(), "{length} bytes are enough");
        // With a checksum that fits, too.
        if let Some(body) = file[..length].get(HEADER..) {
            assert!(load(&write(&HEAD, body)).is_err(), "{length} bytes are enough");
        }
    }
}

#[test]
fn p94_more_than_there_should_be() {
    let error = load(&[whole(), vec![0]].concat()).unwrap_err();
    assert!(error.contains("bytes"), "{error}");
    let body = [state().encode().unwrap(), vec![0xc0; 3]].concat();
    let error = load(&write(&HEAD, &body)).unwrap_err();
    assert!(error.contains("followed by 3 bytes"), "{error}");
}

#[test]
fn p94_one_bit_is_another() {
    let file = whole();
    for bit in 0..file.len() * 8 {
        let mut harmed = file.clone();
        harmed[bit / 8] ^= 1 << (bit % 8);
        assert!(load(&harmed).is_err(), "bit {bit}");
    }
}

#[test]
fn p94_something_else_altogether() {
    for file in [&b""[..], b"\x7fELF", &[0; 64], &[0xff; 200], &MAGIC] {
        assert!(load(file).is_err());
        assert!(super::header(file).is_err());
    }
    assert!(is_ours(&whole()) && !is_ours(&[0; 64]));
    let mut file = whole();
    file[13] = 1;
    assert!(super::header(&file).unwrap_err().contains("flags that nobody knows"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands in a body whose checksum fits: it is refused in words, or is a fleet that lives.
    #[test]
    fn p94_no_body_harms(harms in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut body = state().encode().unwrap();
        for (at, byte) in harms {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Ok((_, state)) = load(&write(&HEAD, &body))
            && let Ok(mut fleet) = restored(&state.fleet)
        {
            let now = std::time::Instant::now();
            let _ = fleet.step(Input::Resume, now);
            let _ = fleet.step(Input::Tick, now);
        }
    }

    /// Bytes of no meaning.
    #[test]
    fn p94_noise(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(load(&bytes).is_err());
        prop_assert!(load(&write(&HEAD, &bytes)).is_err());
    }
}
