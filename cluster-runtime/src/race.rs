//! One future against another, without the macros of an async library; and who goes first.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Runs `work` unless `stop` ends first; `stop` is asked first, so that an order that is already there is
/// obeyed. The one that loses is dropped where it stands: hand in what is cancel-safe.
pub(crate) async fn unless<T>(stop: impl Future, work: impl Future<Output = T>) -> Option<T> {
    let (mut stop, mut work) = (pin!(stop), pin!(work));
    poll_fn(|cx| {
        if stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Lets everybody go first who is to be polled by now, in a runtime of one thread and so many tasks. After a thread stood still its timers are
/// over, and what they are a limit of may have come in time: then its task knows it as soon as it is asked.
pub(crate) async fn after_others(tasks: usize) {
    // A runtime of one thread asks sixty-one, and the kernel, before it comes back to whoever yields.
    for _ in 0..tasks / 61 + 2 {
        tokio::task::yield_now().await;
    }
}
