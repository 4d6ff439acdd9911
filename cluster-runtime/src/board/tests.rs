//! The board, between threads of one process; between processes it is the same memory.

use super::*;

#[test]
fn what_is_counted_is_seen_on_its_line_and_in_the_sum() {
    let (theirs, memory) = make().unwrap();
    let (board, row) = (Board::of(theirs).unwrap(), Row::of(&memory).unwrap());
    let (one, last) = (row.view(1), row.view(MOST_LINES));
    let line = board.line(Some(1));
    line.received();
    line.received();
    line.ended();
    line.served();
    board.line(Some(MOST_LINES)).received();
    // Of the worker as a whole, and of a thread that has none of its own.
    board.line(None).served();
    board.line(Some(MOST_LINES + 1)).served();
    assert_eq!(one.seen(), Some(Seen { received: 2, open: 1, served: 1 }));
    assert_eq!(last.seen(), Some(Seen { received: 1, open: 1, served: 0 }));
    assert_eq!(row.sum(), Seen { received: 3, open: 2, served: 3 });
    assert_eq!(board.sum(), row.sum());
    assert_eq!(one.beat(), 0);
    assert_eq!(line.beat(7), 0);
    assert_eq!((line.beat(9), one.beat()), (7, 9));
}

/// Mutation: take all that was received for what was read from the lane.
#[test]
fn what_was_accepted_by_the_worker_itself_never_was_on_its_lane() {
    let (theirs, memory) = make().unwrap();
    let (board, view) = (Board::of(theirs).unwrap(), Row::of(&memory).unwrap().view(1));
    let line = board.line(Some(1));
    line.received();
    for _ in 0..3 {
        line.accepted();
        line.received();
    }
    assert_eq!(view.seen().map(|seen| seen.received), Some(4));
    assert_eq!(view.off_the_lane(), Some(1));
}

/// Mutation: subtract, or add, without a care.
#[test]
fn s16_words_of_any_value_are_read() {
    let (theirs, memory) = make().unwrap();
    let (page, row) = (shared::write(theirs).unwrap(), Row::of(&memory).unwrap());
    for value in [u64::MAX, 1 << 63, 0x4141_4141_4141_4141] {
        for words in page {
            words[0].store(value / 3, atomic::Ordering::Relaxed);
            words[1..].iter().for_each(|word| word.store(value, atomic::Ordering::Relaxed));
        }
        assert_eq!(row.view(5).seen(), Some(Seen { received: value / 3, open: 0, served: value }));
        assert_eq!(row.sum().open, 0);
        assert_eq!(row.view(5).beat(), value);
    }
}

#[test]
fn the_clock_is_that_of_instants() {
    let (before, instant) = (now(), std::time::Instant::now());
    while instant.elapsed() < std::time::Duration::from_millis(2) {}
    let elapsed = now() - before;
    assert!((2_000_000..10_000_000_000).contains(&elapsed), "{elapsed}");
}
