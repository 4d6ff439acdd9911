//! In fixtures: messages of several kinds.

use ::cluster::Codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Not a text.
#[derive(Debug, Deserialize, Serialize)]
pub struct Shout {
    /// To be shouted.
    pub text: String,
}

/// Reads and writes as the cluster's own word of the same name would.
#[derive(Debug, Deserialize, Serialize)]
pub enum Lookalike {
    /// "I want to leave."
    Leave {
        /// Of its own will.
        voluntary: bool,
    },
}

/// A codec of the user's own.
#[derive(Debug)]
pub enum Backwards {}

impl Codec for Backwards {
    fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, String> {
        let mut bytes = ::cluster::MessagePack::encode(message)?;
        bytes.reverse();
        Ok(bytes)
    }

    fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, String> {
        let bytes: Vec<u8> = bytes.iter().rev().copied().collect();
        ::cluster::MessagePack::decode(&bytes)
    }
}
