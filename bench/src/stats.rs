//! The few sums that the numbers go through.

/// Of an odd number the one in the middle, of an even one the mean of the two.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[half]),
        _ => Some((sorted[half - 1] + sorted[half]) / 2.0),
    }
}

/// The smallest value that so many percent of all do not exceed (nearest rank): always one that was measured.
pub(crate) fn percentile<T: Copy>(sorted: &[T], percent: f64) -> Option<T> {
    // A hair less, since 99.9 is not a number that a machine has.
    let rank = (sorted.len() as f64 * percent / 100.0 - 1e-9).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// How uneven shares are: the largest over the mean. 1 is exact.
pub(crate) fn unevenness(shares: &[u64]) -> Option<f64> {
    let most = *shares.iter().max()?;
    let all: u64 = shares.iter().sum();
    (all > 0).then(|| most as f64 * shares.len() as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }

    #[test]
    fn a_percentile_is_one_that_was_measured() {
        let all: Vec<u32> = (1..=1000).collect();
        let of = |percent| percentile(&all, percent);
        assert_eq!((of(50.0), of(99.0), of(99.9), of(100.0)), (Some(500), Some(990), Some(999), Some(1000)));
        assert_eq!(of(0.0), Some(1));
        assert_eq!(percentile(&[7_u32], 99.9), Some(7));
        assert_eq!(percentile::<u32>(&[], 50.0), None);
    }

    #[test]
    fn an_even_spread_is_one() {
        assert_eq!(unevenness(&[5, 5, 5, 5]), Some(1.0));
        assert_eq!(unevenness(&[10, 0]), Some(2.0));
        assert_eq!(unevenness(&[0, 0]), None);
        assert_eq!(unevenness(&[]), None);
    }
}
