//! What is due when, by name: the first is known at once, however many there are. Pure.
//!
//! The loop asks for the first in each of its turns, and again with each connection that it lets in; what has a deadline gets
//! another a few times in its life. So it is kept sorted where it changes, and not looked for where it is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Each name has one deadline, or none.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    of: BTreeMap<K, Instant>,
    sorted: BTreeSet<(Instant, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Deadlines<K> {
        Deadlines { of: BTreeMap::new(), sorted: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> Deadlines<K> {
    /// From now on this is its deadline, whatever it was.
    pub(crate) fn set(&mut self, name: K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.of.insert(name, at),
            None => self.of.remove(&name),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.sorted.remove(&(before, name));
        }
        self.sorted.extend(at.map(|at| (at, name)));
    }

    /// The first of all.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.sorted.first().map(|(at, _)| *at)
    }

    /// Takes out one whose time has come, those of old first.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<K> {
        let (_, name) = *self.sorted.first().filter(|(at, _)| *at <= now)?;
        self.set(name, None);
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_is_known_whatever_changes() {
        let (now, mut deadlines) = (Instant::now(), Deadlines::default());
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(deadlines.first(), None);
        deadlines.set('a', Some(at(3)));
        deadlines.set('b', Some(at(2)));
        deadlines.set('b', Some(at(2)));
        assert_eq!(deadlines.first(), Some(at(2)));
        deadlines.set('b', Some(at(5)));
        assert_eq!(deadlines.first(), Some(at(3)), "the former one of b counts no more");
        deadlines.set('a', None);
        deadlines.set('c', None);
        assert_eq!(deadlines.first(), Some(at(5)));
    }

    #[test]
    fn who_is_due_is_taken_out_once_and_in_order() {
        let (now, mut deadlines) = (Instant::now(), Deadlines::default());
        let at = |seconds| now + Duration::from_secs(seconds);
        for (name, seconds) in [('a', 2), ('b', 1), ('c', 3), ('d', 1)] {
            deadlines.set(name, Some(at(seconds)));
        }
        let due: Vec<_> = std::iter::from_fn(|| deadlines.take_due(at(2))).collect();
        assert_eq!(due, ['b', 'd', 'a']);
        assert_eq!((deadlines.first(), deadlines.of.len(), deadlines.sorted.len()), (Some(at(3)), 1, 1));
    }

    /// The same as looking through all of them, after any changes.
    #[test]
    fn it_agrees_with_a_look_at_all() {
        let (start, mut deadlines) = (Instant::now(), Deadlines::default());
        let mut all = BTreeMap::new();
        let mut seed = 1_u64;
        for _ in 0..10_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let name = (seed >> 33) % 16;
            let at =
                (!(seed >> 40).is_multiple_of(4)).then(|| start + Duration::from_millis((seed >> 45) % 64));
            deadlines.set(name, at);
            match at {
                Some(at) => drop(all.insert(name, at)),
                None => drop(all.remove(&name)),
            }
            assert_eq!(deadlines.first(), all.values().min().copied());
        }
    }
}
