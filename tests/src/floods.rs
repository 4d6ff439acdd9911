//! In a fixture's primary and its workers: what is told, in the middle of a flood, of how far the flood has come.
//!
//! A test stops the primary, lets a flood and whatever is not to be delayed by it come, and lets it go on: then each thing that
//! happens tells what was still waiting of the flood. So nothing is measured in time.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::cluster::{Address, Primary, SendError, Signal, Worker};
use serde::{Deserialize, Serialize};

use crate::announce::{self, Order};

/// One message of a flood.
#[derive(Debug, Deserialize, Serialize)]
struct Drop {
    drop: String,
}

/// Bytes of each.
const SIZE: usize = 8 * 1024;

static HEARD: AtomicUsize = AtomicUsize::new(0);
static ADDRESS: OnceLock<String> = OnceLock::new();

/// The fixture's `primary = …`: announces all events; at SIGWINCH, at a message and at a worker's end also the flood's state.
pub fn watch(primary: &mut Primary) {
    announce::events(primary);
    primary.on_listening(|_, address: Address| drop(ADDRESS.set(address.to_string())));
    primary.on_message(|_: Worker, _: Drop| {
        let heard = HEARD.fetch_add(1, Ordering::Relaxed) + 1;
        if heard.is_multiple_of(100) {
            println!("flood: {heard} heard");
        }
    });
    primary.on_message(|_: Worker, _: Order| tell("message"));
    primary.on_signal(Signal::WINCH, || tell("signal"));
    primary.on_exit(|_, _| tell("end"));
}

/// `flood: at a signal 12 heard 345 waiting`
fn tell(at: &str) {
    let waiting = ADDRESS.get().map_or(0, |address| waiting(address));
    println!("flood: at a {at} {} heard {waiting} waiting", HEARD.load(Ordering::Relaxed));
}

/// How many clients wait to be accepted on this address of IPv4, as the kernel counts; 0 once nobody listens on it. Of its table
/// no more is read than that row: those that listen come first, and the others may be many thousands.
fn waiting(address: &str) -> usize {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or(0);
    let table = BufReader::with_capacity(4096, File::open("/proc/net/tcp").expect("open the kernel's table"));
    let listens = format!(":{port:04X} 00000000:0000 0A ");
    let mut rows = table.lines().map(|row| row.expect("read the kernel's table")).skip(1);
    let row = rows.by_ref().take_while(|row| row.contains(" 0A ")).find(|row| row.contains(&listens));
    let Some(row) = row else { return 0 };
    // Of a listening socket, what it has to be read is who waits: tx_queue:rx_queue.
    let (_, queue) = row.split_once(&listens).and_then(|(_, rest)| rest.split_once(':')).expect("its queue");
    usize::from_str_radix(&queue[..8], 16).expect("a number")
}

/// In a worker: sends the primary messages until no more of them fit. How many.
///
/// # Panics
/// When sending fails in another way.
pub async fn pour() -> String {
    let mut sent = 0;
    loop {
        match ::cluster::worker().send(Drop { drop: "x".repeat(SIZE) }) {
            Ok(()) => sent += 1,
            Err(SendError::Full) => return format!("poured {sent}"),
            Err(error) => panic!("pouring: {error}"),
        }
    }
}
