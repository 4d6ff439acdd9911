//! What the cluster tells a person: an event of `tracing`, or, where the program has set no subscriber, a line
//! on stderr. Never both.

use std::fmt::Arguments;
use std::io::Write;

pub(crate) fn info(message: Arguments<'_>) {
    tracing::info!(target: "cluster", "{message}");
    line("", message);
}

pub(crate) fn warn(message: Arguments<'_>) {
    tracing::warn!(target: "cluster", "{message}");
    line("warning: ", message);
}

pub(crate) fn error(message: Arguments<'_>) {
    tracing::error!(target: "cluster", "{message}");
    line("error: ", message);
}

fn line(level: &str, message: Arguments<'_>) {
    if tracing::dispatcher::has_been_set() {
        return;
    }
    // One write, so that lines of several processes do not mix; and nobody left to tell that it failed.
    let line = format!("cluster[{}]: {level}{message}\n", std::process::id());
    let _ = std::io::stderr().write_all(line.as_bytes());
}
