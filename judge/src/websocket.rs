//! A client that talks over a WebSocket: each message has a number, and comes back once, in its turn.
//!
//! A server that says `bye` asks the client to leave: it still answers what is under way, and the client closes.
//! Without such a word a server has no way to end a WebSocket without a race.

use std::collections::VecDeque;
use std::io;

use tungstenite::client::client;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::HandshakeError;
use tungstenite::{ClientHandshake, Error, Message, WebSocket};

use crate::client::{BURST, CONNECTION, Client};
use crate::record::{End, Record};
use crate::wire::{Rest, Wire};

/// The longest message, in bytes.
const MESSAGE: u64 = 2000;

/// The word by which a server asks its client to leave.
const BYE: &str = "bye";

struct Talk<'a> {
    wire: &'a Wire,
    socket: WebSocket<&'a Wire>,
    /// The last texts that came back, to know them again.
    answered: VecDeque<String>,
    /// The server has said that it wants to end.
    bye: bool,
}

impl Client {
    /// One WebSocket from its upgrade to its Close frames; the upgrade and the close are requests too.
    pub(crate) fn converse(&mut self) -> io::Result<()> {
        let Some(wire) = self.connect()? else { return Ok(()) };
        wire.begin();
        let mut record = self.record(Some(&wire));
        let upgraded = client("ws://judge/ws", &wire);
        (record.size, record.written, record.read) = (wire.written(), wire.written(), wire.read());
        let socket = match upgraded {
            Ok((socket, _)) => socket,
            Err(error) => {
                record.end = refused_upgrade(error);
                self.enter(record);
                return Ok(());
            }
        };
        record.end = End::Complete;
        self.enter(record);
        let mut talk = Talk { wire: &wire, socket, answered: VecDeque::new(), bye: false };
        let mut left = self.random.up_to(CONNECTION);
        while left > 0 {
            let count = self.random.up_to(BURST).min(left);
            left -= count;
            if !self.exchange(&mut talk, count) {
                return Ok(());
            }
            if talk.bye {
                break;
            }
            match wire.rest(&*self.stop, self.random.within(self.crew.pause)) {
                Rest::Quiet => {}
                Rest::Stopped => break,
                Rest::Ended(end) => {
                    // In order or not, it is not how a WebSocket ends.
                    let end = if matches!(end, End::Closed) { End::Unfinished } else { end };
                    self.idle_end(&wire, end);
                    return Ok(());
                }
                Rest::Spoken => match self.listen(&mut talk) {
                    Ok(()) if talk.bye => break,
                    Ok(()) => {}
                    Err(end) => {
                        self.idle_end(&wire, end);
                        return Ok(());
                    }
                },
            }
        }
        self.leave(&mut talk);
        Ok(())
    }

    /// Sends this many messages and reads as many; whether it can go on.
    fn exchange(&mut self, talk: &mut Talk<'_>, count: u64) -> bool {
        talk.wire.begin();
        let mut asked: VecDeque<(String, Record)> = VecDeque::new();
        let mut failed = None;
        for n in 1..=count {
            let mut record = self.record(Some(talk.wire));
            record.idle = n == 1;
            let padding = usize::try_from(self.random.up_to(MESSAGE)).unwrap_or_default();
            let text = format!("message {} {}", record.id, "x".repeat(padding));
            record.size = text.len() as u64;
            if failed.is_none() {
                let before = talk.wire.written();
                failed = talk.socket.send(Message::text(&*text)).err();
                // What the mask and the header take is no part of the message.
                record.written = (talk.wire.written() - before).min(record.size);
            }
            asked.push_back((text, record));
        }
        let mut crossed = false;
        let mut mark = talk.wire.read();
        while let Some((text, record)) = asked.front_mut() {
            record.end = match talk.socket.read() {
                Ok(Message::Text(got)) if got == *text => End::Complete,
                Ok(Message::Text(got)) if got == BYE => {
                    talk.bye = true;
                    mark = talk.wire.read();
                    continue;
                }
                Ok(Message::Close(_)) => {
                    crossed = true;
                    mark = talk.wire.read();
                    continue;
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                Ok(got) => talk.stray(&got),
                Err(error) => ended(error),
            };
            // A part of a frame that came together with the one before it counts for that.
            record.read = talk.wire.read() - mark;
            record.repeatable = crossed;
            mark = talk.wire.read();
            let end = record.end.clone();
            if let Some((text, record)) = asked.pop_front() {
                talk.remember(text);
                self.enter(record);
            }
            if !matches!(end, End::Complete) {
                for (_, mut record) in asked {
                    // Whether they are answered is not known: the two sides are out of step.
                    record.end = end.clone();
                    record.repeatable = crossed;
                    self.enter(record);
                }
                return false;
            }
        }
        true
    }

    /// Reads what came while nothing was under way.
    fn listen(&mut self, talk: &mut Talk<'_>) -> Result<(), End> {
        talk.wire.begin();
        match talk.socket.read() {
            Ok(Message::Text(text)) if text == BYE => talk.bye = true,
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(Message::Close(_)) => {
                // Answers the frame; how the connection ends after that is all the same.
                while talk.socket.read().is_ok() {}
                return Err(End::Closed);
            }
            Ok(got) => return Err(talk.stray(&got)),
            Err(error) => match ended(error) {
                End::Closed => return Err(End::Unfinished),
                end => return Err(end),
            },
        }
        Ok(())
    }

    /// The record of a request that was not written, as there was no WebSocket any more.
    fn idle_end(&mut self, wire: &Wire, end: End) {
        let mut record = self.record(Some(wire));
        record.idle = true;
        record.end = end;
        self.enter(record);
    }

    /// Closes, and waits for the other side's Close frame.
    fn leave(&mut self, talk: &mut Talk<'_>) {
        talk.wire.begin();
        let mut record = self.record(Some(talk.wire));
        record.idle = true;
        let (written, read) = (talk.wire.written(), talk.wire.read());
        let closed = talk.socket.close(None);
        record.written = talk.wire.written() - written;
        record.size = record.written;
        let mut answered = false;
        record.end = match closed {
            Err(error) => ended(error),
            Ok(()) => loop {
                match talk.socket.read() {
                    Ok(Message::Close(_)) => {
                        answered = true;
                        record.took = self.ledger.now() - record.began;
                    }
                    Ok(Message::Text(text)) if text == BYE => {}
                    Ok(Message::Ping(_) | Message::Pong(_)) => {}
                    Ok(got) => break talk.stray(&got),
                    // After the frames it does not matter how the connection ends, but it has to.
                    Err(error) => match ended(error) {
                        End::Closed | End::Broken(_) if answered => break End::Complete,
                        end => break end,
                    },
                }
            },
        };
        record.read = talk.wire.read() - read;
        self.enter(record);
    }
}

impl Talk<'_> {
    fn remember(&mut self, text: String) {
        self.answered.push_back(text);
        if self.answered.len() > 2 * BURST as usize {
            self.answered.pop_front();
        }
    }

    fn stray(&self, message: &Message) -> End {
        let text = message.to_text().unwrap_or("no text");
        let start: String = text.chars().take(60).collect();
        if self.answered.iter().any(|answered| answered == text) {
            End::Again(format!("a message that came before, {start:?}"))
        } else {
            End::Wrong(format!("{} bytes that are not the next message, {start:?}", message.len()))
        }
    }
}

fn ended(error: Error) -> End {
    match error {
        Error::Io(error) => End::from(error),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete) => {
            End::Closed
        }
        other => End::Wrong(other.to_string()),
    }
}

fn refused_upgrade(error: HandshakeError<ClientHandshake<&Wire>>) -> End {
    match error {
        HandshakeError::Failure(error) => ended(error),
        // The socket blocks, so this is its time that was over.
        HandshakeError::Interrupted(_) => End::Late,
    }
}
