//! All interleavings, as far as the memory model allows them, of who writes a line and who reads it.

mod atomic {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
}

#[path = "line.rs"]
mod line;

use line::Line;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;

struct Words([AtomicU64; 8]);

impl Words {
    fn new() -> Arc<Words> {
        Arc::new(Words(std::array::from_fn(|_| AtomicU64::new(0))))
    }

    fn line(&self) -> Line<'_> {
        Line::over(&self.0)
    }
}

/// One thread receives, and connections end in it and in another; a third reads.
///
/// Mutation: read the ends last; end, or read the ends, relaxed; count by a load and a store.
#[test]
fn r04_never_more_end_than_are_received_whenever_it_is_read() {
    // Whatever goes wrong here does so with two changes of threads where none was due.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let words = Words::new();
        let reader = thread::spawn({
            let words = Arc::clone(&words);
            move || {
                let mut before = (0, 0, 0);
                for _ in 0..2 {
                    let now = words.line().counts();
                    assert!(now.1 <= now.0, "more have ended than were received: {now:?}");
                    assert!(
                        now.0 >= before.0 && now.1 >= before.1 && now.2 >= before.2,
                        "{before:?}, then {now:?}"
                    );
                    before = now;
                }
            }
        });
        words.line().received();
        let ending = thread::spawn({
            let words = Arc::clone(&words);
            move || {
                words.line().served();
                words.line().ended();
            }
        });
        words.line().received();
        words.line().served();
        words.line().ended();
        ending.join().unwrap();
        reader.join().unwrap();
        let seen = words.line().read();
        assert_eq!((seen.received, seen.open, seen.served), (2, 0, 2));
    });
}
