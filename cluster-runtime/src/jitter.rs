//! A little more or less, so that what began together does not end together; and the same each time, for the same worker.

/// A number in 0..1 that looks random and is the same for the same salt (splitmix64).
pub(crate) fn fraction(salt: u64) -> f64 {
    let mut z = salt.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// What a worker's own limit is multiplied by: a tenth less or more than 1, drawn from its id.
pub(crate) fn of_worker(id: u64) -> f64 {
    0.9 + 0.2 * fraction(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_own_limit_is_about_the_limit_and_no_two_are_alike() {
        let mut all: Vec<_> = (1..=100).map(of_worker).collect();
        assert!(all.iter().all(|factor| (0.9..1.1).contains(factor)), "{all:?}");
        assert_eq!(of_worker(7), of_worker(7));
        all.sort_by(f64::total_cmp);
        all.dedup();
        assert_eq!(all.len(), 100);
        assert!(all[99] - all[0] > 0.15, "{} to {}", all[0], all[99]);
    }
}
