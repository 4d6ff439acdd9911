//! In a fixture that a bad deploy puts in the place of a good one: where it fails, and how.

use std::net::TcpListener;
use std::process::exit;
use std::{env, fs, thread};

use rustix::process::Signal;

use crate::channel::{channel, frame, write_all};
use crate::process;

/// What the file `kind` beside this program says of this, such as of `main`.
///
/// # Panics
/// When the kernel does not tell where the program is.
#[must_use]
pub fn told(what: &str) -> Option<String> {
    let program = env::current_exe().expect("the path of this program");
    let kind = fs::read_to_string(program.with_file_name("kind")).unwrap_or_default();
    kind.split_once(' ').filter(|(name, _)| *name == what).map(|(_, how)| how.to_owned())
}

/// Fails here, if the file says so.
///
/// # Panics
/// If the file says so.
pub fn fails_in(place: &str) {
    match told(place).as_deref() {
        None => {}
        Some("panics") => panic!("a bug in the new code"),
        Some("hangs") => loop {
            thread::park();
        },
        // The first one takes the standard library's own answer to it away.
        Some("segfaults") => (0..2).for_each(|_| process::signal(std::process::id(), Signal::SEGV)),
        Some("exits") => exit(1),
        Some("answers") => answers(8, b"\x83\xa5build\xa5other\xa8protocol\x63\xa5state\x02"),
        Some("refuses") => answers(5, b"the state that was handed over is of version 9"),
        // The only thing that it wants for itself.
        Some(address) => drop(TcpListener::bind(address).expect("bind an address of its own")),
    }
}

/// When it is asked whether it can take over, in the place of the library: that it speaks version 99 of the protocol, or words.
fn answers(kind: u8, body: &[u8]) {
    write_all(&channel(), &frame(kind, 0, body)).expect("answer");
    exit(0)
}
