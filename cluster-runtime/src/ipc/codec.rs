//! How a user's message becomes bytes, and again a message.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::frame::MAX_BODY;
use crate::error::SendError;

/// A way to write messages. [`MessagePack`] is what everything is sent by; another is used through [`Coded`].
pub trait Codec {
    /// Writes a message, or says in words why it can't be.
    fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, String>;

    /// Reads a message, or says in words why these bytes are none. They come from another process.
    fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, String>;
}

/// MessagePack with named fields, so that two versions of a program can talk: unknown fields are passed over, and a field
/// that is missing may have a default.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MessagePack {}

impl Codec for MessagePack {
    fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, String> {
        rmp_serde::to_vec_named(message).map_err(|error| error.to_string())
    }

    fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, String> {
        rmp_serde::from_slice(bytes).map_err(|error| error.to_string())
    }
}

/// A message that is written by the codec `C`: wherever an `M` can be sent, asked, answered or received, a `Coded<C, M>`
/// can, if both ends name it so.
///
/// ```
/// use cluster::{Codec, Coded};
///
/// /// Says how it would be printed, and reads nothing.
/// enum Debugged {}
///
/// impl Codec for Debugged {
///     fn encode<M: serde::Serialize>(_: &M) -> Result<Vec<u8>, String> {
///         Ok(std::any::type_name::<M>().into())
///     }
///
///     fn decode<M: serde::de::DeserializeOwned>(_: &[u8]) -> Result<M, String> {
///         Err("this codec is one way".into())
///     }
/// }
///
/// # fn send(worker: cluster::ThisWorker) -> Result<(), cluster::SendError> {
/// worker.send(Coded::<Debugged, _>::new(5u8))
/// # }
/// ```
pub struct Coded<C, M> {
    message: M,
    by: PhantomData<fn() -> C>,
}

impl<C: Codec, M> Coded<C, M> {
    /// This message, by that codec.
    pub fn new(message: M) -> Coded<C, M> {
        Coded { message, by: PhantomData }
    }

    /// The message.
    pub fn into_inner(self) -> M {
        self.message
    }
}

impl<C, M: fmt::Debug> fmt::Debug for Coded<C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

impl<C: Codec, M: Serialize> Serialize for Coded<C, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&C::encode(&self.message).map_err(ser::Error::custom)?)
    }
}

impl<'de, C: Codec, M: DeserializeOwned> Deserialize<'de> for Coded<C, M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Coded<C, M>, D::Error> {
        struct Bytes<C, M>(PhantomData<fn() -> (C, M)>);

        impl<C: Codec, M: DeserializeOwned> Visitor<'_> for Bytes<C, M> {
            type Value = Coded<C, M>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a Coded message")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Coded<C, M>, E> {
                C::decode(bytes).map(Coded::new).map_err(E::custom)
            }
        }

        deserializer.deserialize_bytes(Bytes(PhantomData))
    }
}

/// A message as it travels.
///
/// Made before any lock is taken or anything is borrowed: it runs the user's `Serialize`, which may do anything,
/// even send.
#[derive(Debug)]
pub(crate) struct Encoded(Vec<u8>);

impl Encoded {
    pub(crate) fn new(message: &impl Serialize) -> Result<Encoded, SendError> {
        let body = MessagePack::encode(message).map_err(SendError::Encode)?;
        match body.len() {
            0..=MAX_BODY => Ok(Encoded(body)),
            size => Err(SendError::TooLarge { size, limit: MAX_BODY }),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a body as `M`.
pub(crate) fn decode<M: DeserializeOwned>(body: &[u8]) -> Result<M, String> {
    MessagePack::decode(body)
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
