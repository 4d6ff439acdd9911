//! Workers that accept by themselves are given the sockets for it.

use super::slot::Id;
use super::{Loop, hub};
use crate::config::Policy;
use crate::ipc::message::{Call, ListenerId, ToWorker};
use crate::report;

/// Sockets that one lane comes with; what else it serves is accepted by the primary.
const MOST: usize = 64;

impl Loop {
    /// Before the answer to a worker that has asked for a lane. What can't be given is handed over as under other policies, and
    /// so is everything until the worker says that it accepts.
    pub(super) fn hand_out(&mut self, id: Id, slot: usize, call: Call, listeners: &[ListenerId]) {
        let split = match self.settings.policy {
            Policy::Shared => false,
            Policy::ReusePort => true,
            _ => return,
        };
        for listener in listeners.iter().take(MOST) {
            let given = self.listeners.of_slot(*listener, slot, split).and_then(|(known, new)| {
                if new && let Err(error) = self.door.add(known, &self.listeners, &self.epoll) {
                    self.listeners.forget(known);
                    return Err(error);
                }
                self.listeners.hand_out(known)
            });
            match given {
                Ok(socket) => hub::tell(id, &ToWorker::Socket { call, listener: *listener }, Some(socket)),
                Err(error) => report::error(format_args!(
                    "giving worker {} a listening socket: {error}; its connections are accepted by the primary",
                    id.0
                )),
            }
        }
    }
}
