//! What a server of the judge's routes answers, to the byte. Shared with such servers; simple enough for any language.

use std::time::Duration;

/// splitmix64: the same numbers from the same seed, everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 1 to `most`; 0 if that is 0.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        if most == 0 { 0 } else { 1 + self.number() % most }
    }

    /// A time, at most this long.
    pub(crate) fn within(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.up_to(u64::try_from(most.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// The body of `/bytes/{id}/{length}`: the numbers of the seed `id`, each as eight bytes, the lowest first.
#[must_use]
pub fn bytes(id: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(id);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.number().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The body of `/answer/{id}/{milliseconds}`.
#[must_use]
pub fn answer(id: u64) -> String {
    format!("answer {id}")
}

/// The body of the answer to `/echo/{id}`.
#[must_use]
pub fn receipt(id: u64, body: &[u8]) -> String {
    format!("received {id} length {} hash {:016x}", body.len(), Digest::of(body).hash)
}

/// Length and hash (FNV-1a, 64 bits) of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) length: u64,
    pub(crate) hash: u64,
}

impl Digest {
    pub(crate) const NOTHING: Self = Self { length: 0, hash: 0xcbf2_9ce4_8422_2325 };

    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut digest = Self::NOTHING;
        digest.add(bytes);
        digest
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published test vectors of both algorithms.
    #[test]
    fn the_algorithms_are_what_they_are_called() {
        assert_eq!(Digest::of(b"").hash, 0xcbf2_9ce4_8422_2325);
        assert_eq!(Digest::of(b"foobar").hash, 0x8594_4171_f739_67e8);
        assert_eq!(Random::new(1_234_567).number(), 6_457_827_717_110_365_317);
    }

    #[test]
    fn bytes_have_their_length_and_their_seed() {
        assert_eq!(bytes(7, 19).len(), 19);
        assert_eq!(bytes(7, 19)[..8], Random::new(7).number().to_le_bytes());
        assert_ne!(bytes(7, 19), bytes(8, 19));
    }
}
