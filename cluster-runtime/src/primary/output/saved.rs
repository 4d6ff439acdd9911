//! What workers print, as one image of the primary leaves it for the next: the pipes, lines that have begun, and what was not
//! taken yet where the primary prints.

use std::io;

use serde::{Deserialize, Serialize};

use super::{Outputs, Tap, Watch};
use crate::config::Output;
use crate::ipc::bytes::Bytes;
use crate::primary::lines::{Lines, Stream};
use crate::primary::outlet::Outlets;
use crate::primary::slot::Id;
use crate::sys::passed::{Claims, Fd};

/// All of it.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SavedOutputs {
    taps: Vec<SavedTap>,
    waiting: Vec<Bytes>,
}

#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
struct SavedTap {
    worker: u64,
    stderr: bool,
    pipe: Fd,
    begun: Bytes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watch: Option<Watch>,
}

impl Outputs {
    pub(crate) fn save(&self) -> SavedOutputs {
        let taps = self.taps.iter().map(|((id, stream), tap)| SavedTap {
            worker: id.0,
            stderr: *stream == Stream::Stderr,
            pipe: Fd::of(&tap.pipe),
            begun: Bytes(tap.lines.begun().to_vec()),
            watch: tap.watch,
        });
        let waiting = self.outlets.as_ref().map(Outlets::waiting).unwrap_or_default();
        SavedOutputs { taps: taps.collect(), waiting: waiting.into_iter().map(Bytes).collect() }
    }

    /// In an image that is to take over, before anything is taken.
    pub(crate) fn prepare(mode: Output, saved: &SavedOutputs) -> io::Result<Outputs> {
        let mut outputs = Outputs::new(mode)?;
        if outputs.mode == Output::Inherit && saved.taps.iter().any(|tap| tap.watch.is_some()) {
            outputs.outlets = Some(Outlets::of_stderr()?);
        }
        if outputs.outlets.is_none() && saved.waiting.iter().any(|bytes| !bytes.0.is_empty()) {
            outputs.outlets = Some(Outlets::open()?);
        }
        Ok(outputs)
    }

    pub(crate) fn adopt(&mut self, saved: SavedOutputs, claims: &Claims) {
        for SavedTap { worker, stderr, pipe, begun, watch } in saved.taps {
            let stream = if stderr { Stream::Stderr } else { Stream::Stdout };
            let pipe = pipe.take(claims).into();
            let tap = Tap { pipe, lines: Lines::begun_with(begun.0), wanted: true, heard: false, watch };
            self.taps.insert((Id(worker), stream), tap);
            if let Some(Watch::Ready(_)) = watch {
                self.ready.insert(Id(worker));
            }
        }
        self.stirred = true;
        if let Some(outlets) = &mut self.outlets {
            outlets.go_on(saved.waiting.into_iter().map(|bytes| bytes.0));
        }
    }
}

impl SavedOutputs {
    pub(crate) fn fds(&self) -> impl Iterator<Item = &Fd> {
        self.taps.iter().map(|tap| &tap.pipe)
    }
}
