//! One future against another, without the macros of an async library.

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
