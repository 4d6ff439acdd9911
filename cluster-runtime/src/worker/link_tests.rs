//! A worker's end of the channel, against a primary played by hand.

use std::future::Future;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::ipc::message::LaneId;
use crate::sys::scm;

/// What the link's thread heard.
enum Heard {
    Message(Vec<u8>),
    Question(Reply),
}

struct Ears(Mutex<Sender<Heard>>);

impl Listener for Ears {
    fn message(&self, body: Vec<u8>, _: Option<OwnedFd>) {
        lock(&self.0).send(Heard::Message(body)).unwrap();
    }

    fn question(&self, _: Vec<u8>, reply: Reply) {
        assert!(lock(&self.0).send(Heard::Question(reply)).is_ok());
    }

    fn is_full(&self) -> bool {
        false
    }

    fn drain(&self, _: Duration) {}

    fn foretold(&self) {}

    fn ring(&self, _: Instant) -> Option<Instant> {
        None
    }

    fn terminated(&self) -> Option<Instant> {
        None
    }

    fn orphaned(&self) -> Instant {
        // The thread would end this process.
        Instant::now() + Duration::from_secs(3600)
    }
}

struct Primary {
    socket: OwnedFd,
    outbox: Outbox,
    intake: Intake,
    heard: Receiver<Heard>,
}

fn linked() -> (&'static Link, Primary) {
    let (ours, socket) = scm::stream_pair().unwrap();
    let (tell, heard) = channel();
    let link: &'static Link =
        Box::leak(Box::new(Link::new(ours, eventfd(0, EventfdFlags::NONBLOCK).unwrap()).unwrap()));
    link.start(Box::leak(Box::new(Ears(Mutex::new(tell))))).unwrap();
    (link, Primary { socket, outbox: Outbox::default(), intake: Intake::default(), heard })
}

impl Primary {
    fn says(&mut self, head: Head, body: &[u8]) {
        self.outbox.post(head, body, None).unwrap();
        self.outbox.flush(&self.socket).unwrap();
    }

    /// The next frame that the worker has sent.
    fn hears(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.intake.next().unwrap() {
                return packet;
            }
            wait(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(Duration::from_secs(10))).unwrap();
            self.intake.read(&self.socket).unwrap();
        }
    }

    /// Returns when the link's thread has heard all that was said before.
    fn was_heard(&mut self) {
        self.says(Head::USER, b"so far");
        while !matches!(self.heard.recv(), Ok(Heard::Message(body)) if body == b"so far") {}
    }
}

fn ask(link: &Link) -> (u64, oneshot::Receiver<Told>) {
    link.ask(|number| Head::of(Kind::Ask, number), b"?").unwrap()
}

/// Mutation: keep a question that was answered, or panic at a number that nobody has.
#[test]
fn n32_answers_that_nobody_waits_for_are_ignored() {
    let (link, mut primary) = linked();
    let (number, mut told) = ask(link);
    assert_eq!(primary.hears().head, Head::of(Kind::Ask, number));
    primary.says(Head::of(Kind::Answer, number + 1), b"forged");
    primary.says(Head::of(Kind::Refusal, u64::MAX), b"forged");
    primary.says(Head::relay(0, number), b"not a primary's word");
    let lane = ToWorker::Lane { call: Call(99), result: Ok(crate::ipc::message::LaneId(9)), line: None };
    primary.says(Head::CONTROL, Encoded::new(&lane).unwrap().as_bytes());
    primary.was_heard();
    assert!(told.try_recv().is_err());
    assert!(lock(&link.askers).as_ref().unwrap().is_empty(), "an answer to no call is kept");
    primary.says(Head::of(Kind::Answer, number), b"first");
    primary.says(Head::of(Kind::Answer, number), b"second");
    primary.was_heard();
    assert_eq!(told.try_recv(), Ok(Ok(b"first".to_vec())));
    assert!(lock(&link.unanswered).waiting.is_empty());
}

/// Mutation: leave those who wait waiting, or take questions after the end.
#[test]
fn r15_at_the_primarys_end_nobody_waits() {
    let (link, primary) = linked();
    let (_, told) = ask(link);
    drop(primary);
    assert!(told.blocking_recv().is_err());
    let after = link.ask(|number| Head::of(Kind::Ask, number), b"?");
    assert_eq!(after.map(drop), Err(AskError::Send(SendError::Closed)));
    let sent = link.post(Head::USER, b"!", None).map_err(|refused| refused.error);
    assert_eq!(sent, Err(SendError::Closed), "R15");
}

/// Mutation: no limit, or none given back.
#[test]
fn questions_have_a_limit_and_give_it_back() {
    let (link, mut primary) = linked();
    let asked: Vec<_> = (0..MOST_QUESTIONS).map(|_| ask(link)).collect();
    let one_more = || link.ask(|number| Head::of(Kind::Ask, number), b"?");
    assert_eq!(one_more().map(drop), Err(AskError::TooMany { limit: MOST_QUESTIONS }));
    link.forget(asked[0].0);
    assert!(one_more().is_ok());
    // All of them were sent, in order.
    for (number, _) in &asked {
        assert_eq!(primary.hears().head.number, *number);
    }
}

/// Mutation: refuse in no case, or answer what was answered.
#[test]
fn a_question_of_the_primarys_has_one_answer() {
    let (_, mut primary) = linked();
    primary.says(Head::of(Kind::Ask, 5), b"?");
    let Ok(Heard::Question(reply)) = primary.heard.recv() else { panic!("no question") };
    reply(Encoded::new(&1u8).map_err(|error| error.to_string())).unwrap();
    let answer = primary.hears();
    assert_eq!((answer.head, &answer.body[..]), (Head::of(Kind::Answer, 5), &[1][..]));
    primary.says(Head::of(Kind::Ask, 6), b"?");
    let Ok(Heard::Question(reply)) = primary.heard.recv() else { panic!("no question") };
    reply(Err("no".into())).unwrap();
    let refusal = primary.hears();
    assert_eq!((refusal.head, &refusal.body[..]), (Head::of(Kind::Refusal, 6), &b"no"[..]));
}

/// Mutation: say that all was written when the socket was full.
#[test]
fn r17_a_full_channel_is_told_and_flushes_when_it_is_read() {
    let (link, mut primary) = linked();
    let body = vec![7; 1 << 20];
    let mut sent = 0;
    while link.post(Head::USER, &body, None).is_ok() {
        sent += 1;
    }
    assert!((31..34).contains(&sent), "{sent} MiB were taken");
    assert!(link.backlog() > 30 << 20);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, link.flushed()).await.is_err(), "nobody reads");
        let reader = std::thread::Builder::new().spawn(move || {
            for _ in 0..sent {
                assert_eq!(primary.hears().body.len(), 1 << 20);
            }
            primary
        });
        link.flushed().await.unwrap();
        assert_eq!(link.backlog(), 0);
        link.post(Head::USER, &body, None).unwrap();
        let primary = reader.unwrap().join().unwrap();
        drop(primary);
        // Written before the end or not: it is known which.
        let _ = link.flushed().await;
    });
}

/// Mutation: do it when whoever asked is polled.
#[test]
fn what_is_first_done_with_an_answer_waits_for_nobody() {
    let (link, mut primary) = linked();
    let (tell, told) = channel();
    let question = |call| ToPrimary::Listen { call, listeners: Vec::new(), by_itself: false, counts: false };
    let first = move |answer: &Answer| tell.send(answer.lane()).unwrap();
    let mut asked = std::pin::pin!(link.call_async(question, None, first));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(asked.as_mut().poll(&mut cx).is_pending());
    let ToPrimary::Listen { call, .. } = decode(&primary.hears().body).unwrap() else {
        panic!("another question")
    };
    let lane = ToWorker::Lane { call, result: Ok(LaneId(7)), line: None };
    primary.says(Head::CONTROL, Encoded::new(&lane).unwrap().as_bytes());
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(Some((LaneId(7), None))));
    primary.was_heard();
    let std::task::Poll::Ready(Ok((answer, ()))) = asked.poll(&mut cx) else { panic!("no answer") };
    assert!(answer.take().is_ok());
}
