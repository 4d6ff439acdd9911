//! How one serving thread tells its connections that it is leaving.
//!
//! actix-http has one signal for that, and closes a connection on it that has no request in progress, even
//! if the next one is already in the socket: a fresh connection, or the client of a keep-alive connection
//! that had just been answered, would see a reset. So the signal is the second step. In the first, the last
//! call, every response carries `Connection: close`, and a busy client leaves with an answer in its hands.

use actix_http::{ConnectionType, ResponseHead};
use tokio::sync::watch;

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Stage {
    Serving,
    LastCall,
    /// Requests in progress end, and connections without one close.
    Closing,
}

/// A connection's or a service's view of its thread's drain.
#[derive(Clone)]
pub(super) struct Drain(watch::Receiver<Stage>);

impl Drain {
    pub(super) fn new() -> (watch::Sender<Stage>, Drain) {
        let (sender, receiver) = watch::channel(Stage::Serving);
        (sender, Drain(receiver))
    }

    /// Ends when connections without a request are to close.
    pub(super) async fn closing(mut self) {
        // An error means that the thread is gone, and with it everything that could be waited for.
        let _ = self.0.wait_for(|stage| *stage == Stage::Closing).await;
    }

    /// Tells the client of a response that it is the last one, if it is. HTTP/2 has no such header, and
    /// actix-http leaves it out there; an upgraded connection is no longer HTTP.
    pub(super) fn mark(&self, head: &mut ResponseHead) {
        if *self.0.borrow() >= Stage::LastCall && !head.upgrade() {
            head.set_connection_type(ConnectionType::Close);
        }
    }
}
