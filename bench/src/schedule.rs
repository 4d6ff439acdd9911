//! When requests are due, fixed before the first is sent. A client that waits for an answer before it asks again would leave
//! out the very requests that a stalled server makes wait; here those are sent late, and the time they were late counts.

use std::time::Duration;

/// One request that is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Due {
    /// Since the beginning.
    pub(crate) at: Duration,
    /// Which of the load's requests.
    pub(crate) kind: usize,
}

/// So many a second, evenly.
pub(crate) fn even(kind: usize, per_second: f64, time: Duration) -> Vec<Due> {
    let count = (per_second * time.as_secs_f64()) as u32;
    (0..count).map(|n| Due { at: Duration::from_secs_f64(f64::from(n) / per_second), kind }).collect()
}

/// So many a second on average, at random times, as independent clients come; the same times in every run.
pub(crate) fn random(kind: usize, per_second: f64, time: Duration, seed: u64) -> Vec<Due> {
    let mut all = Vec::new();
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut at = 0.0;
    loop {
        // xorshift64*: enough for arrivals.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let uniform = (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64;
        at -= (1.0 - uniform).ln() / per_second;
        if at >= time.as_secs_f64() {
            return all;
        }
        all.push(Due { at: Duration::from_secs_f64(at), kind });
    }
}

/// Two schedules as one.
pub(crate) fn both(one: Vec<Due>, other: Vec<Due>) -> Vec<Due> {
    let mut all = [one, other].concat();
    all.sort_by_key(|due| due.at);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn even_is_even() {
        let all = even(0, 4.0, SECOND);
        let times: Vec<u128> = all.iter().map(|due| due.at.as_millis()).collect();
        assert_eq!(times, [0, 250, 500, 750]);
    }

    #[test]
    fn random_is_the_same_each_time_and_as_many_as_asked() {
        let all = random(1, 1000.0, 10 * SECOND, 7);
        assert_eq!(all, random(1, 1000.0, 10 * SECOND, 7));
        assert_ne!(all, random(1, 1000.0, 10 * SECOND, 8));
        assert!((9_500..10_500).contains(&all.len()), "{}", all.len());
        assert!(all.is_sorted_by_key(|due| due.at));
    }

    #[test]
    fn both_are_in_order() {
        let all = both(even(0, 2.0, SECOND), random(1, 50.0, SECOND, 1));
        assert!(all.is_sorted_by_key(|due| due.at));
        assert_eq!(all.iter().filter(|due| due.kind == 0).count(), 2);
    }
}
