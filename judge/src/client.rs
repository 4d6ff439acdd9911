//! One client: asks, over one connection after the other, until the trial is over.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, PipeReader, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::content::{Digest, Random};
use crate::http::{Answer, Answers, PIECE, Request};
use crate::ledger::Ledger;
use crate::plan::{Address, Crew, Kind, Plan};
use crate::record::{End, Record};
use crate::wire::{Rest, Wire, pause};

/// How long a client waits that was not let in, before it tries again.
const RETRY: Duration = Duration::from_millis(5);

/// How long a server that leaves is to wait for the next request of each connection, at least.
const LAST_CALL: Duration = Duration::from_millis(250);

/// At most so many requests over one connection.
pub(crate) const CONNECTION: u64 = 50;

/// At most so many requests under way on one connection.
pub(crate) const BURST: u64 = 4;

pub(crate) struct Client {
    pub(crate) plan: Arc<Plan>,
    pub(crate) crew: Crew,
    pub(crate) address: Address,
    /// The row of the ledger that it writes to.
    pub(crate) row: usize,
    pub(crate) ledger: Arc<Ledger>,
    /// Its end is the trial's end.
    pub(crate) stop: Arc<PipeReader>,
    pub(crate) random: Random,
    /// The id of the last request; its upper half is the client's own.
    pub(crate) last_id: u64,
    /// The number of the last connection.
    pub(crate) connection: u64,
}

/// What the server answered before on a connection.
#[derive(Default)]
struct History {
    /// When the connection was begun with, or last asked on.
    asked: Duration,
    /// The last answers, to know them again.
    answered: VecDeque<Digest>,
    /// The connection was open and had nothing to do before.
    idle: bool,
    /// The server has said that it takes no more.
    dismissed: bool,
}

impl Client {
    /// Ends with the trial.
    ///
    /// # Errors
    /// When this machine cannot ask any more, as without free ports: that is no fault of the server.
    pub(crate) fn work(&mut self) -> io::Result<()> {
        while !self.ledger.is_over() {
            match self.crew.kind {
                Kind::WebSocket => self.converse()?,
                Kind::KeepAlive | Kind::Pipelined => self.ask_often()?,
                _ => self.ask_once()?,
            }
        }
        Ok(())
    }

    fn ask_once(&mut self) -> io::Result<()> {
        // For slow answers and large bodies the pause is somewhere else.
        if matches!(self.crew.kind, Kind::OneShot | Kind::HalfClose) && !self.pause() {
            return Ok(());
        }
        let asked = self.ledger.now();
        let Some(wire) = self.connect()? else { return Ok(()) };
        let mut answers = Answers::on(&wire);
        let mut history = History { asked, ..History::default() };
        if self.crew.kind == Kind::Preconnect {
            if !self.is_still_there(&wire, &mut answers) {
                return Ok(());
            }
            history.idle = true;
        }
        self.burst(&wire, &mut answers, &mut history, 1, true);
        Ok(())
    }

    fn ask_often(&mut self) -> io::Result<()> {
        if !self.pause() {
            return Ok(());
        }
        let asked = self.ledger.now();
        let Some(wire) = self.connect()? else { return Ok(()) };
        let mut answers = Answers::on(&wire);
        let mut history = History { asked, ..History::default() };
        let mut left = self.random.up_to(CONNECTION);
        loop {
            let most = if self.crew.kind == Kind::Pipelined { BURST } else { 1 };
            let count = self.random.up_to(most).min(left);
            left -= count;
            let goes_on = self.burst(&wire, &mut answers, &mut history, count, left == 0);
            if !goes_on || left == 0 || !self.is_still_there(&wire, &mut answers) {
                return Ok(());
            }
            history.idle = true;
        }
    }

    /// Pauses on an idle connection; `false` at the trial's end, or when the connection is no good any more. That is
    /// the record of the request that would have been the next.
    fn is_still_there(&mut self, wire: &Wire, answers: &mut Answers<'_>) -> bool {
        let end = match wire.rest(&*self.stop, self.random.within(self.crew.pause)) {
            Rest::Quiet => return true,
            Rest::Stopped => return false,
            Rest::Ended(end) => end,
            Rest::Spoken => match answers.more() {
                Ok(()) => answers.unasked().unwrap_or(End::Closed),
                Err(end) => end,
            },
        };
        let mut record = self.record(Some(wire));
        record.idle = true;
        record.end = end;
        self.enter(record);
        false
    }

    /// Asks this many things at once and reads the answers; whether the connection can be used on.
    fn burst(
        &mut self,
        wire: &Wire,
        answers: &mut Answers<'_>,
        history: &mut History,
        count: u64,
        is_last: bool,
    ) -> bool {
        wire.begin();
        let since = std::mem::replace(&mut history.asked, self.ledger.now());
        let mut asked = Vec::new();
        let mut dead = None;
        for n in 1..=count {
            let (request, mut record) = self.request(wire, is_last && n == count);
            record.idle = history.idle && n == 1;
            if dead.is_none() {
                let before = wire.written();
                dead = self.write(wire, &request).err().map(End::from);
                record.written = wire.written() - before;
            }
            record.late = self.ledger.now() - since >= LAST_CALL;
            record.repeatable = request.idempotent && (history.idle || record.late);
            asked.push((request, record));
        }
        if self.crew.kind == Kind::HalfClose && dead.is_none() {
            dead = wire.half_close().err().map(End::from);
        }
        // A server may have answered before it hung up; only what it did not answer has the end of the writing.
        let mut failed = None;
        for (n, (request, mut record)) in asked.into_iter().enumerate() {
            record.dismissed = history.dismissed;
            if let Some(end) = &failed {
                record.end = End::clone(end);
            } else {
                let (read, answer) = answers.next(|| self.read_a_piece(wire));
                record.read = read;
                record.took = self.ledger.now() - record.began;
                record.end = match answer {
                    Ok(answer) => {
                        history.dismissed |= answer.closes;
                        compare(&answer, &request, history)
                    }
                    Err(end) => {
                        let end = if matches!(end, End::Closed) { dead.take().unwrap_or(end) } else { end };
                        failed.insert(end).clone()
                    }
                };
            }
            if n as u64 + 1 == count && matches!(record.end, End::Complete) {
                let unasked = if is_last || history.dismissed { answers.rest() } else { answers.unasked() };
                record.end = unasked.unwrap_or(End::Complete);
            }
            if !matches!(record.end, End::Complete) {
                // Out of step, too: of those that follow it is not known whose answer is whose.
                failed.get_or_insert_with(|| record.end.clone());
            }
            self.enter(record);
        }
        failed.is_none() && !history.dismissed
    }

    fn request(&mut self, wire: &Wire, is_last: bool) -> (Request, Record) {
        let kind = self.crew.kind;
        let millis = match kind {
            Kind::SlowAnswer => self.random.within(self.crew.pause).as_millis(),
            _ => 0,
        };
        let mut record = self.record(Some(wire));
        // A client that half-closes has said it in its own way.
        let closes = is_last && kind != Kind::HalfClose;
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let request = Request::new(kind, record.id, millis, self.plan.body, closes);
        record.size = request.size();
        (request, record)
    }

    fn write(&mut self, mut wire: &Wire, request: &Request) -> io::Result<()> {
        wire.write_all(request.head.as_bytes())?;
        for (n, piece) in request.body.chunks(PIECE).enumerate() {
            if n > 0 {
                wire.dawdle(&*self.stop, self.random.within(self.crew.pause));
            }
            wire.write_all(piece)?;
        }
        Ok(())
    }

    fn read_a_piece(&mut self, wire: &Wire) {
        if self.crew.kind == Kind::Download {
            wire.dawdle(&*self.stop, self.random.within(self.crew.pause));
        }
    }

    /// Connects; `None` where the server did not let it in, which is a record of its own.
    pub(crate) fn connect(&mut self) -> io::Result<Option<Wire>> {
        self.connection += 1;
        let window = (self.crew.kind == Kind::Download).then_some(PIECE);
        let began = self.ledger.now();
        let error = match Wire::open(&self.address, self.plan.timeout, window) {
            Ok(wire) => {
                self.ledger.let_in(self.row, began);
                return Ok(Some(wire));
            }
            Err(error) if is_theirs(&error) => error,
            Err(error) => return Err(error),
        };
        let mut record = self.record(None);
        record.began = began;
        record.end = End::Unopened(Arc::new(error));
        self.enter(record);
        pause(&*self.stop, RETRY);
        Ok(None)
    }

    /// The pause before a request; `false` at the trial's end.
    fn pause(&mut self) -> bool {
        pause(&*self.stop, self.random.within(self.crew.pause))
    }

    /// A record that begins now.
    pub(crate) fn record(&mut self, wire: Option<&Wire>) -> Record {
        self.last_id += 1;
        Record {
            client: self.ledger.name(self.row),
            id: self.last_id,
            connection: self.connection,
            local: wire.map(Wire::local).unwrap_or_default(),
            began: self.ledger.now(),
            took: Duration::ZERO,
            idle: false,
            repeatable: false,
            late: false,
            dismissed: false,
            size: 0,
            written: 0,
            read: 0,
            end: End::Closed,
        }
    }

    /// Its place in the ledger.
    pub(crate) fn enter(&self, mut record: Record) {
        if record.took.is_zero() {
            record.took = self.ledger.now() - record.began;
        }
        self.ledger.enter(self.row, record);
    }
}

fn compare(answer: &Answer, request: &Request, history: &mut History) -> End {
    let Answer { status, digest, text, .. } = answer;
    if *status == 200 && *digest == request.expected {
        history.answered.push_back(*digest);
        if history.answered.len() > BURST as usize {
            history.answered.pop_front();
        }
        End::Complete
    } else if *status == 200 && history.answered.contains(digest) {
        End::Again(format!("the answer to an earlier request, {text:?}"))
    } else {
        let Digest { length, hash } = request.expected;
        End::Wrong(format!(
            "status {status} length {} hash {:016x} instead of 200, {length}, {hash:016x}: {text:?}",
            digest.length, digest.hash
        ))
    }
}

/// Whether an error of connect(2) tells something about the server, and not about this machine.
fn is_theirs(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::NotFound
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::WouldBlock
            | ErrorKind::TimedOut
    )
}
