//! What is measured, each in a file of its own.

mod requests;

use std::io;

use crate::bench::Bench;

/// All that were asked for, in their order.
///
/// # Errors
///
/// What this side could not do. A server that fails is left out, and said.
pub(crate) fn run(bench: &mut Bench) -> io::Result<()> {
    let all: [(&str, fn(&mut Bench) -> io::Result<()>); 2] =
        [("connection", requests::connection), ("keep-alive", requests::keep_alive)];
    for (name, scenario) in all {
        if bench.options.wants(name) {
            scenario(bench)?;
        }
    }
    Ok(())
}
