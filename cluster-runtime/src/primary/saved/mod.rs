//! What one image of the primary hands to the next when another program is executed in its place.
//!
//! A file in memory: a header whose shape never changes ([`file`]), and a body, the [`State`], in MessagePack with named
//! fields. A later version of it may have more fields, each with a default, and never fewer or others: so every image reads
//! what one before it wrote, and the one to go back to reads what a later one has written in its version.

use serde::{Deserialize, Serialize};

pub(crate) mod file;
pub(crate) mod fleet;
#[cfg(test)]
mod sample;
mod words;

pub(crate) use self::fleet::Fleet;
use super::parts::Parts;
use super::rows::saved::SavedRows;

/// The version that this program writes. 2 has the configured number of workers, 3 the board.
pub(crate) const VERSION: u32 = 3;

/// All of it, part by part.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct State {
    pub(crate) fleet: Fleet,
    pub(crate) parts: Parts,
    /// Why an image that was given this could not take over, where it goes back to the one before.
    #[serde(default)]
    pub(crate) refused: Option<String>,
}

impl State {
    /// As a program of that version wants it, which knows of no more than it names. To one that has never heard of the board, a
    /// worker that beats on it would seem to have stalled; and descriptors that it does not know would stay open for ever.
    pub(crate) fn of_version(self, version: u32) -> State {
        if version >= 3 {
            return self;
        }
        let parts = Parts { rows: SavedRows::default(), ..self.parts };
        State { fleet: self.fleet.without_hearts(), parts, ..self }
    }

    /// The body of a file.
    ///
    /// # Errors
    /// In words, why it can't be written.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        rmp_serde::to_vec_named(self).map_err(|error| format!("writing the state: {error}"))
    }

    /// From the body of a file.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub(crate) fn decode(body: &[u8]) -> Result<State, String> {
        let mut rest = body;
        let mut reader = rmp_serde::Deserializer::new(&mut rest);
        let state =
            State::deserialize(&mut reader).map_err(|error| format!("the state can't be read: {error}"))?;
        match rest.len() {
            0 => Ok(state),
            extra => Err(format!("the state is followed by {extra} bytes that are none of it")),
        }
    }
}
