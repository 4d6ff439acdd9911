//! What a cluster said, in order: the events that its fixture announced, and its log.

use std::fmt;
use std::time::Duration;

/// One event, as [`crate::announce`] printed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A worker was forked.
    Fork(Forked),
    /// It speaks.
    Online {
        /// Which worker.
        id: u64,
        /// Its state as the primary's handle tells it inside of the callback.
        state: String,
    },
    /// It serves an address.
    Listening {
        /// Which worker.
        id: u64,
        /// `127.0.0.1:8000` or `unix:/path`.
        address: String,
        /// Its state.
        state: String,
    },
    /// It sent a message.
    Message {
        /// From which worker.
        id: u64,
        /// What was in it.
        body: String,
    },
    /// Its channel is closed.
    Disconnect {
        /// Which worker.
        id: u64,
        /// Whether it was asked to leave.
        voluntary: bool,
        /// Its state.
        state: String,
    },
    /// It is dead and reaped.
    Exit(Exited),
    /// Any other line that some process of the cluster printed.
    Said(String),
}

/// A worker's birth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forked {
    /// Counts up from 1.
    pub id: u64,
    /// Which slot it fills.
    pub slot: usize,
    /// Its process.
    pub pid: u32,
    /// Which start of the code it belongs to.
    pub generation: u64,
    /// Its state.
    pub state: String,
}

/// A worker's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exited {
    /// Which worker.
    pub id: u64,
    /// What its process was.
    pub pid: u32,
    /// What it returned, if it did.
    pub code: Option<i32>,
    /// What killed it, if something did, such as `SIGKILL`.
    pub signal: Option<String>,
    /// Whether it was asked to leave.
    pub voluntary: bool,
    /// The variant of the reason.
    pub reason: String,
    /// Its state.
    pub state: String,
    /// `Exit` as a person reads it.
    pub text: String,
}

impl Event {
    /// Reads a line; whatever is not an event was said by somebody.
    #[must_use]
    pub fn read(line: &str) -> Self {
        Self::parse(line).unwrap_or_else(|| Self::Said(line.to_owned()))
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let id: u64 = words.next()?.parse().ok()?;
        let rest: Vec<&str> = words.collect();
        // The rest is pairs of a name and its value; what is free text comes last.
        let of = |name: &str| {
            let at = rest.iter().position(|word| *word == name)?;
            rest.get(at + 1).copied().filter(|value| *value != "-")
        };
        let state = || of("state").unwrap_or_default().to_owned();
        Some(match kind {
            "fork" => Self::Fork(Forked {
                id,
                slot: of("slot")?.parse().ok()?,
                pid: of("pid")?.parse().ok()?,
                generation: of("generation")?.parse().ok()?,
                state: state(),
            }),
            "online" => Self::Online { id, state: state() },
            "listening" => Self::Listening { id, address: of("address")?.to_owned(), state: state() },
            "message" => Self::Message { id, body: rest.join(" ") },
            "disconnect" => Self::Disconnect { id, voluntary: of("voluntary")? == "true", state: state() },
            "exit" => Self::Exit(Exited {
                id,
                pid: of("pid")?.parse().ok()?,
                code: of("code").and_then(|code| code.parse().ok()),
                signal: of("signal").map(str::to_owned),
                voluntary: of("voluntary")? == "true",
                reason: of("reason")?.to_owned(),
                state: state(),
                text: line.split_once(" text ").map(|(_, text)| text.to_owned()).unwrap_or_default(),
            }),
            _ => return None,
        })
    }

    /// The event's name in the vocabulary of the events; `said` for other lines.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fork(_) => "fork",
            Self::Online { .. } => "online",
            Self::Listening { .. } => "listening",
            Self::Message { .. } => "message",
            Self::Disconnect { .. } => "disconnect",
            Self::Exit(_) => "exit",
            Self::Said(_) => "said",
        }
    }

    /// The worker it is about.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        match self {
            Self::Fork(Forked { id, .. })
            | Self::Online { id, .. }
            | Self::Listening { id, .. }
            | Self::Message { id, .. }
            | Self::Disconnect { id, .. }
            | Self::Exit(Exited { id, .. }) => Some(*id),
            Self::Said(_) => None,
        }
    }
}

/// One line of the story.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    Event(Event),
    Log(String),
    /// No process of the cluster holds its standard output any more: all of them are gone.
    EndOfEvents,
    EndOfLog,
}

/// All that a cluster said so far, with the time since its start.
#[derive(Clone, Debug, Default)]
pub struct Story {
    lines: Vec<(Duration, Line)>,
}

impl Story {
    pub(crate) fn add(&mut self, at: Duration, line: Line) {
        self.lines.push((at, line));
    }

    pub(crate) fn is_over(&self) -> bool {
        let ends = |(_, line): &&(Duration, Line)| matches!(line, Line::EndOfEvents | Line::EndOfLog);
        self.lines.iter().filter(ends).count() == 2
    }

    /// Whether every process that held the cluster's standard output is gone.
    #[must_use]
    pub fn all_gone(&self) -> bool {
        self.lines.iter().any(|(_, line)| matches!(line, Line::EndOfEvents))
    }

    /// The events with the time when each was read.
    pub fn timed(&self) -> impl Iterator<Item = (Duration, &Event)> {
        self.lines.iter().filter_map(|(at, line)| match line {
            Line::Event(event) => Some((*at, event)),
            _ => None,
        })
    }

    /// The events.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.timed().map(|(_, event)| event)
    }

    /// The names of one worker's events, in order, without its messages.
    #[must_use]
    pub fn life(&self, id: u64) -> Vec<&'static str> {
        let of_its_life = |event: &&Event| event.id() == Some(id) && event.name() != "message";
        self.events().filter(of_its_life).map(Event::name).collect()
    }

    /// The log's lines.
    pub fn log(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|(_, line)| match line {
            Line::Log(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// All births.
    pub fn forks(&self) -> impl Iterator<Item = &Forked> {
        self.events().filter_map(|event| match event {
            Event::Fork(forked) => Some(forked),
            _ => None,
        })
    }

    /// All ends.
    pub fn exits(&self) -> impl Iterator<Item = &Exited> {
        self.events().filter_map(|event| match event {
            Event::Exit(exited) => Some(exited),
            _ => None,
        })
    }

    /// Whether some process printed exactly this.
    #[must_use]
    pub fn said(&self, text: &str) -> bool {
        self.events().any(|event| matches!(event, Event::Said(line) if line == text))
    }

    /// The addresses that were listened on, in order, each once.
    #[must_use]
    pub fn addresses(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for event in self.events() {
            if let Event::Listening { address, .. } = event
                && !all.contains(&address.as_str())
            {
                all.push(address);
            }
        }
        all
    }

    /// The workers that listen (on anything) and have not ended.
    #[must_use]
    pub fn listening(&self) -> Vec<u64> {
        let mut up = Vec::new();
        for event in self.events() {
            match event {
                Event::Listening { id, .. } if !up.contains(id) => up.push(*id),
                Event::Disconnect { id, .. } => up.retain(|other| other != id),
                Event::Exit(exited) => up.retain(|other| *other != exited.id),
                _ => {}
            }
        }
        up
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in &self.lines {
            let at = at.as_micros();
            match line {
                Line::Event(event) => writeln!(f, "{at:>9} µs  {event:?}")?,
                Line::Log(text) => writeln!(f, "{at:>9} µs  log: {text}")?,
                Line::EndOfEvents => writeln!(f, "{at:>9} µs  -- the last process closed standard output")?,
                Line::EndOfLog => writeln!(f, "{at:>9} µs  -- the last process closed standard error")?,
            }
        }
        Ok(())
    }
}
