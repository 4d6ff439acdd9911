//! What workers count, as far as it is believed, and the sums of it. Pure.
//!
//! Sums never go backwards: of each worker counts the most that was ever seen, also when it is gone. And what one writes that
//! can't be is passed over, so that it has no part in them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::board::Seen;

/// One worker's counts, and what was last believed of them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Tally {
    received: u64,
    open: u64,
    served: u64,
    /// It has written what can't be, and that was told.
    lied: bool,
}

impl Tally {
    /// What it has written, so long after its birth. Yields true the first time that it can't be.
    pub(crate) fn note(&mut self, seen: Seen, lived: Duration) -> bool {
        // Nobody does anything in less than a nanosecond. So whatever is written the sums stay far from where they would end.
        let most = u64::try_from(lived.as_nanos()).unwrap_or(u64::MAX);
        if seen.received.max(seen.served).max(seen.open) > most {
            return !std::mem::replace(&mut self.lied, true);
        }
        self.received = self.received.max(seen.received);
        self.served = self.served.max(seen.served);
        self.open = seen.open;
        false
    }

    pub(crate) fn believed(&self) -> Seen {
        Seen { received: self.received, open: self.open, served: self.served }
    }

    /// Its worker is gone, and nothing of it is open.
    pub(crate) fn fold_into(self, sum: &mut Tally) {
        sum.received = sum.received.saturating_add(self.received);
        sum.served = sum.served.saturating_add(self.served);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Mutation: take what comes last; keep what a dead one had open.
    #[test]
    fn sums_never_go_backwards() {
        let (mut one, mut sum) = (Tally::default(), Tally::default());
        assert!(!one.note(Seen { received: 7, open: 2, served: 30 }, HOUR));
        assert!(!one.note(Seen { received: 5, open: 1, served: 29 }, HOUR));
        assert_eq!(one.believed(), Seen { received: 7, open: 1, served: 30 });
        one.fold_into(&mut sum);
        assert_eq!(sum.believed(), Seen { received: 7, open: 0, served: 30 });
    }

    /// Mutation: believe it; say so each time.
    #[test]
    fn s16_what_can_not_be_is_passed_over_and_said_once() {
        let mut liar = Tally::default();
        let truth = Seen { received: 7, open: 2, served: 30 };
        assert!(!liar.note(truth, HOUR));
        for (n, lie) in [
            Seen { received: u64::MAX, ..truth },
            Seen { served: 1 << 60, ..truth },
            Seen { open: u64::MAX, ..truth },
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(liar.note(lie, HOUR), n == 0);
            assert_eq!(liar.believed(), truth);
        }
    }

    proptest! {
        #[test]
        fn s16_whatever_is_written_is_no_harm(all in prop::collection::vec((any::<[u64; 3]>(), any::<u64>()), 0..50)) {
            let (mut sum, mut before) = (Tally::default(), Seen::default());
            for ([received, open, served], lived) in all {
                let mut one = Tally::default();
                one.note(Seen { received, open, served }, Duration::from_nanos(lived));
                one.fold_into(&mut sum);
                let now = sum.believed();
                prop_assert!(now.received >= before.received && now.served >= before.served && now.open == 0);
                before = now;
            }
        }
    }
}
