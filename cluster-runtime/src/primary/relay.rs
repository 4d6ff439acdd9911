//! What workers say to each other and to the user's callbacks: passed on, or given to them.

use super::hub;
use super::slot::Id;
use super::{Loop, ask, desk};
use crate::error::SendError;
use crate::ipc::channel::{Encoded, Packet};
use crate::ipc::frame::{ALL, Head, Kind};
use crate::ipc::message::Untold;

impl Loop {
    /// A frame of the user's. Numbers are the worker's word: they are only ever looked up among its own.
    pub(super) fn heard_user(&mut self, id: Id, packet: Packet) {
        let Packet { head, body, fd } = packet;
        match head.kind {
            Kind::User => self.callbacks.messaged(&desk::worker(id), &body, fd),
            Kind::Ask => {
                let answer = self.callbacks.asked(&desk::worker(id), &body);
                answer_worker(id, head.number, answer);
            }
            Kind::Answer => ask::answered(id, head.number, Ok(body)),
            Kind::Refusal => {
                ask::answered(id, head.number, Err(String::from_utf8_lossy(&body).into_owned()));
            }
            Kind::Relay => self.relay(id, head, &body),
            // Never here: the first is the loop's, the second the channel's own, the last no worker's to say.
            Kind::Control | Kind::Hello | Kind::Birth | Kind::Check => {}
        }
    }

    /// Passes a message on, unread, and says who could not be told: where it went is not the sender's to know, and nothing
    /// of it stays here. Whoever does not read fills its own channel, and only that.
    fn relay(&mut self, from: Id, head: Head, body: &[u8]) {
        let told = |id: Id| hub::post(id, Head::USER, body, None).map_err(|refused| refused.error);
        let members = self.fleet.members().filter(|(_, member)| member.exists && member.connected);
        let lost: Vec<Untold> = match head.to {
            ALL => members
                .filter(|(id, _)| *id != from)
                .filter_map(|(id, member)| untold(member.slot, told(id)))
                .collect(),
            slot => {
                let slot = usize::from(slot);
                // In a reload a slot has two workers, and is one's.
                let holder = self.fleet.holder(slot);
                let one = members.map(|(id, _)| id).find(|id| holder == Some(*id));
                untold(slot, one.map_or(Err(SendError::Closed), told)).into_iter().collect()
            }
        };
        let body = match lost.is_empty() {
            true => Vec::new(),
            false => Encoded::new(&lost).map(Encoded::into_bytes).unwrap_or_default(),
        };
        hub::reply(from, Head::of(Kind::Answer, head.number), &body, None);
    }
}

fn untold(slot: usize, told: Result<(), SendError>) -> Option<Untold> {
    let error = told.err()?;
    Some(Untold { slot, full: error == SendError::Full })
}

fn answer_worker(id: Id, number: u64, answer: Result<Encoded, String>) {
    let reason = match answer {
        Ok(answer) => match hub::post(id, Head::of(Kind::Answer, number), answer.as_bytes(), None) {
            Ok(()) => return,
            Err(refused) => refused.error.to_string(),
        },
        Err(reason) => reason,
    };
    hub::reply(id, Head::of(Kind::Refusal, number), reason.as_bytes(), None);
}
