//! Who gets the next connection. Pure.

/// Exact round robin over whoever is ready, in the order of their keys.
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

impl<K: Copy + Ord> RoundRobin<K> {
    /// As if this one had been picked last.
    pub(crate) fn after(last: K) -> RoundRobin<K> {
        RoundRobin { last: Some(last) }
    }

    /// Who was picked last.
    pub(crate) fn last(&self) -> Option<K> {
        self.last
    }

    /// The next of `ready`, which is sorted; `None` if nobody is.
    pub(crate) fn pick(&mut self, ready: &[K]) -> Option<K> {
        let after = self.last.map_or(0, |last| ready.partition_point(|key| *key <= last));
        let picked = ready.get(after).or_else(|| ready.first()).copied();
        self.last = picked.or(self.last);
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_in_turn() {
        let mut robin = RoundRobin::default();
        let picks: Vec<_> = (0..7).filter_map(|_| robin.pick(&[2, 5, 9])).collect();
        assert_eq!(picks, [2, 5, 9, 2, 5, 9, 2]);
    }

    #[test]
    fn leaving_and_joining_skips_nobody() {
        let mut robin = RoundRobin::default();
        assert_eq!(robin.pick(&[1, 2, 3]), Some(1));
        assert_eq!(robin.pick(&[1, 3]), Some(3));
        assert_eq!(robin.pick(&[1, 2, 3]), Some(1));
        assert_eq!(robin.pick(&[3]), Some(3));
        assert_eq!(robin.pick(&[] as &[i32]), None);
        assert_eq!(robin.pick(&[1, 2, 3, 4]), Some(4));
    }
}
