//! What the cluster tells a person: an event of `tracing`, or, where the program has set no subscriber, a line
//! on stderr. Never both.

use std::fmt::Arguments;
use std::io::{Stderr, Write};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::role::{self, Process};

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

/// Of several lines, the first of which is like all others and the others indented.
pub(crate) fn block(message: Arguments<'_>) {
    tracing::info!(target: "cluster", "{message}");
    let message = message.to_string();
    // What is not more than this is taken at once or not at all.
    const MOST: usize = 4000;
    let mut part = String::new();
    for text in message.lines() {
        if !part.is_empty() && part.len() + text.len() >= MOST {
            line("", format_args!("{}", std::mem::take(&mut part)));
        }
        if !part.is_empty() {
            part.push('\n');
        }
        part.push_str(text);
    }
    line("", format_args!("{part}"));
}

fn line(level: &str, message: Arguments<'_>) {
    if tracing::dispatcher::has_been_set() {
        return;
    }
    let stderr = std::io::stderr();
    if role::get() == Process::Primary && !takes_a_line(&stderr) {
        LOST.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let lost = match LOST.swap(0, Ordering::Relaxed) {
        0 => String::new(),
        lines => format!(" ({lines} lines before this one are lost: nobody read them)"),
    };
    // One write, so that lines of several processes do not mix; and nobody left to tell that it failed.
    let line = format!("cluster[{}]: {level}{message}{lost}\n", std::process::id());
    let _ = (&stderr).write_all(line.as_bytes());
}

/// Lines of the primary's that would have had to wait for a reader.
static LOST: AtomicU32 = AtomicU32::new(0);

/// Whether it would be written at once: a terminal that a person has stopped must not stop the primary, too.
fn takes_a_line(stderr: &Stderr) -> bool {
    let mut fds = [PollFd::new(stderr, PollFlags::OUT)];
    // One that can't be asked, or is broken, keeps nobody.
    !matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
}
