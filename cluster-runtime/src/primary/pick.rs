//! Who gets the next connection. Pure.

use std::net::IpAddr;

/// By turns over whoever is ready, in the order of their keys.
///
/// A worker that joins or leaves changes nobody else's turn: what is remembered is the last key served and not
/// a position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundRobin<K> {
    last: Option<K>,
}

impl<K> Default for RoundRobin<K> {
    fn default() -> RoundRobin<K> {
        RoundRobin { last: None }
    }
}

/// What one has to do already. Less is less.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Load {
    /// It does not keep up: others first, whatever they have.
    pub(crate) behind: bool,
    pub(crate) connections: u64,
}

impl<K: Copy + Ord> RoundRobin<K> {
    /// As if this one had been picked last.
    pub(crate) fn after(last: K) -> RoundRobin<K> {
        RoundRobin { last: Some(last) }
    }

    /// Who was picked last.
    pub(crate) fn last(&self) -> Option<K> {
        self.last
    }

    /// The next of `ready`, which is sorted, who keeps up; where nobody does, the next. `None` if nobody is ready.
    pub(crate) fn pick(&mut self, ready: &[K], mut is_behind: impl FnMut(K) -> bool) -> Option<K> {
        let up = self.in_turn(ready).find(|key| !is_behind(*key));
        self.give(up.or_else(|| self.in_turn(ready).next()))
    }

    /// The one of `ready`, which is sorted, who has the least to do; of several, the next in turn. Of whom nothing is known
    /// takes part in each tie: it gets its share, and never all.
    pub(crate) fn pick_least(&mut self, ready: &[K], mut load: impl FnMut(K) -> Option<Load>) -> Option<K> {
        let (mut least, mut unknown) = (None::<(Load, usize, K)>, None);
        for (turn, key) in self.in_turn(ready).enumerate() {
            match load(key) {
                Some(load) if least.is_none_or(|(least, ..)| load < least) => {
                    least = Some((load, turn, key));
                }
                Some(_) => {}
                None => unknown = unknown.or(Some((turn, key))),
            }
        }
        self.give(match (least, unknown) {
            (Some((load, turn, key)), Some((other, _))) if turn < other && !load.behind => Some(key),
            (Some((.., key)), None) | (_, Some((_, key))) => Some(key),
            (None, None) => None,
        })
    }

    fn in_turn<'a>(&self, ready: &'a [K]) -> impl Iterator<Item = K> + use<'a, K> {
        let after = self.last.map_or(0, |last| ready.partition_point(|key| *key <= last));
        let (before, after) = ready.split_at(after);
        after.iter().chain(before).copied()
    }

    fn give(&mut self, picked: Option<K>) -> Option<K> {
        self.last = picked.or(self.last);
        picked
    }
}

/// The slot of a client, of those that there are: the one that weighs most for it (rendezvous hashing). Each client has
/// its own order of all slots, so where one is missing its clients, and no others, are spread over the rest.
pub(crate) fn slot_of(client: IpAddr, slots: impl IntoIterator<Item = usize>) -> Option<usize> {
    let client = digest(client);
    slots.into_iter().max_by_key(|slot| (mix(client ^ mix(*slot as u64)), *slot))
}

/// Of the address alone: a client has another port each time. An IPv4 address is the same however it is written.
fn digest(client: IpAddr) -> u64 {
    let bits = match client {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    mix((bits >> 64) as u64 ^ mix(bits as u64))
}

/// Each bit of the outcome depends on each bit of `n`: the step of SplitMix64. Never to be changed, and without a seed, so that a
/// client keeps its slot over upgrades and on whichever machine.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
#[path = "pick_tests.rs"]
mod tests;
