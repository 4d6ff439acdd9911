//! Who keeps up, and who does not.

use proptest::prelude::*;

use super::*;

/// Mutation: look only once; never forgive.
#[test]
fn what_lies_unread_from_one_look_to_the_next_is_late() {
    let mut pace = Pace::default();
    pace.hand_off();
    pace.look(Some(0));
    assert!(!pace.is_behind() && pace.unread() == 1, "the primary may have been late itself");
    pace.note(Some(0));
    assert!(!pace.is_behind(), "no time has passed");
    pace.look(Some(0));
    assert!(pace.is_late() && pace.is_behind());
    pace.hand_off();
    pace.note(Some(1));
    assert!(!pace.is_behind() && pace.unread() == 1);
    pace.look(Some(1));
    assert!(!pace.is_behind(), "this one has not waited yet");
}

/// It reads one after the other, and never all that had been there.
///
/// Mutation: take any progress for keeping up.
#[test]
fn who_reads_too_slowly_is_late() {
    let mut pace = Pace::default();
    (0..50).for_each(|_| pace.hand_off());
    pace.look(Some(0));
    pace.look(Some(3));
    assert!(pace.is_late());
    pace.look(Some(49));
    assert!(pace.is_late());
    pace.look(Some(50));
    assert!(!pace.is_late());
}

/// Mutation: a credit of less than a burst, or none.
#[test]
fn a_burst_is_on_credit_and_no_more() {
    let mut pace = Pace::default();
    (0..64).for_each(|_| pace.hand_off());
    assert!(!pace.is_behind());
    pace.hand_off();
    assert!(pace.is_behind() && !pace.is_late());
    pace.take_back();
    assert!(!pace.is_behind());
}

/// Mutation: count what was taken back as unread.
#[test]
fn what_was_taken_back_is_waited_for_no_more() {
    let mut pace = Pace::default();
    pace.hand_off();
    pace.hand_off();
    pace.look(Some(0));
    pace.take_back();
    pace.look(Some(1));
    assert_eq!(pace, Pace { received: 1, ..Pace::of(2, 1) });
}

/// Mutation: take an empty lane for a sign of life; take it for ever for none; try it with a whole credit.
#[test]
fn one_from_which_all_was_taken_back_is_tried_with_one_at_a_time_until_it_reads() {
    let mut pace = Pace::default();
    pace.hand_off();
    pace.look(Some(0));
    pace.look(Some(0));
    pace.take_back();
    pace.note(Some(0));
    assert!(pace.is_behind(), "what was taken back is not for itself");
    pace.look(Some(0));
    assert!(!pace.is_behind());
    pace.hand_off();
    assert!(pace.is_behind() && !pace.is_late());
    pace.note(Some(1));
    assert!(!pace.is_behind());
    pace.hand_off();
    pace.hand_off();
    assert!(!pace.is_behind());
}

/// Mutation: keep what was missing once.
#[test]
fn who_was_only_slow_to_count_is_forgiven_once() {
    let mut pace = Pace::default();
    (0..3).for_each(|_| pace.hand_off());
    pace.look(Some(1));
    pace.is_empty();
    assert!(pace.unread() == 0 && !pace.is_behind());
    pace.note(Some(3));
    pace.hand_off();
    pace.note(Some(3));
    assert_eq!(pace.unread(), 1);
}

/// Mutation: take nothing known for nothing received.
#[test]
fn who_can_not_tell_is_never_late() {
    let mut pace = Pace::of(7, 2);
    for _ in 0..5 {
        pace.hand_off();
        pace.look(None);
        assert!(!pace.is_behind() && pace.unread() == 0);
    }
}

proptest! {
    /// Whatever a worker says, nothing overflows, and nothing is thought to be there that never was.
    ///
    /// Mutation: subtract plainly; add plainly.
    #[test]
    fn a_worker_may_say_what_it_likes(said in prop::collection::vec((any::<Option<u64>>(), 0..4u8), 0..60)) {
        let mut pace = Pace::default();
        for (received, what) in said {
            match what {
                0 => pace.hand_off(),
                1 => pace.take_back(),
                2 => pace.is_empty(),
                _ => pace.look(received),
            }
            pace.note(received);
            prop_assert!(pace.unread() <= pace.handed());
        }
    }

    /// One that has read at each look what was there at the look before is never behind, however much comes.
    ///
    /// Mutation: wait for what came since the last look, too.
    #[test]
    fn who_keeps_up_is_never_behind(given in prop::collection::vec(0..30u64, 0..200)) {
        let (mut pace, mut read) = (Pace::default(), 0);
        for count in given {
            (0..count).for_each(|_| pace.hand_off());
            pace.look(Some(read));
            prop_assert!(!pace.is_behind());
            read = pace.handed();
        }
    }
}
