//! What is measured, each in a file of its own.

mod births;
mod fair;
mod idle;
mod preload;
mod reload;
mod requests;
mod spread;
mod words;
mod workers;

use std::io;

use crate::bench::Bench;

type Scenario = fn(&mut Bench) -> io::Result<()>;

/// In this order.
static ALL: [(&str, Scenario); 10] = [
    ("connection", requests::connection),
    ("keep-alive", requests::keep_alive),
    ("idle", idle::run),
    ("fair", fair::run),
    ("workers", workers::run),
    ("spread", spread::run),
    ("messages", words::run),
    ("births", births::run),
    ("reload", reload::run),
    ("preload", preload::run),
];

/// Whether there is one of this name.
pub(crate) fn is_one(name: &str) -> bool {
    ALL.iter().any(|(one, _)| *one == name)
}

/// All that were asked for.
///
/// # Errors
///
/// What this side could not do. A server that does not start is left out, and said.
pub(crate) fn run(bench: &mut Bench) -> io::Result<()> {
    for (name, scenario) in ALL {
        if bench.options.wants(name) {
            scenario(bench)?;
        }
    }
    Ok(())
}
