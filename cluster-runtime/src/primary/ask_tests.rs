//! Questions to workers: each ends once.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::error::SendError;
use crate::ipc::channel::{Intake, Packet};
use crate::primary::desk;
use crate::sys::epoll::Epoll;
use crate::sys::scm;

const HOUR: Duration = Duration::from_secs(3600);
const ME: Id = Id(1);

/// A worker's end of its channel.
struct Theirs {
    socket: OwnedFd,
    intake: Intake,
}

thread_local! {
    static EPOLL: Epoll = Epoll::new().unwrap();
}

impl Theirs {
    fn open(id: Id) -> Theirs {
        let (ours, socket) = scm::stream_pair().unwrap();
        hub::open(id, ours);
        EPOLL.with(|epoll| hub::attend(id, epoll, id.0)).unwrap();
        Theirs { socket, intake: Intake::default() }
    }

    /// The question that has just been asked of it.
    fn question(&mut self) -> Packet {
        // The turn's end.
        EPOLL.with(|epoll| hub::arm(epoll, |id| id.0)).unwrap();
        self.intake.read(&self.socket).unwrap();
        self.intake.next().unwrap().unwrap()
    }
}

type Answer = Result<u8, AskError>;

fn ask(id: Id, within: Duration) -> (Asked, Receiver<Answer>) {
    let (tell, told) = channel();
    (desk::worker(id).ask("how many?", within, move |answer| drop(tell.send(answer))), told)
}

fn encoded(answer: u8) -> Vec<u8> {
    Encoded::new(&answer).unwrap().into_bytes()
}

/// Mutation: look a number up among all workers' questions; keep a question that was answered.
#[test]
fn n32_forged_and_repeated_answers_are_ignored() {
    let mut theirs = Theirs::open(ME);
    let _other = Theirs::open(Id(2));
    let (_asked, told) = ask(ME, HOUR);
    let question = theirs.question();
    assert_eq!(
        (question.head.kind, decode::<String>(&question.body).unwrap()),
        (Kind::Ask, "how many?".into())
    );
    let number = question.head.number;
    answered(Id(2), number, Ok(encoded(66)));
    answered(ME, number + 1, Ok(encoded(66)));
    answered(ME, u64::MAX, Err("forged".into()));
    assert!(told.try_recv().is_err(), "a forged answer was taken");
    answered(ME, number, Ok(encoded(5)));
    answered(ME, number, Ok(encoded(66)));
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [Ok(5)]);
    assert_eq!(deadline(), None, "nothing is left of it");
}

/// Mutation: forget the deadline, or the worker's end.
#[test]
fn a_question_ends_by_its_time_or_the_workers_end() {
    let _theirs = Theirs::open(ME);
    let (_, late) = ask(ME, Duration::ZERO);
    let (_, in_time) = ask(ME, HOUR);
    let (_, never) = ask(ME, Duration::MAX);
    tick(Instant::now());
    assert_eq!(late.try_recv(), Ok(Err(AskError::TimedOut { within: Duration::ZERO })));
    assert!(in_time.try_recv().is_err() && never.try_recv().is_err());
    closed(ME);
    assert_eq!(in_time.try_recv(), Ok(Err(AskError::Closed)));
    assert_eq!(never.try_recv(), Ok(Err(AskError::Closed)));
    assert_eq!(deadline(), None, "nothing is left of them");
}

/// Mutation: run the callback within `ask`.
#[test]
fn what_can_not_be_asked_is_told_by_the_loop() {
    let (_, told) = ask(Id(404), HOUR);
    assert!(told.try_recv().is_err());
    assert!(deadline().is_some());
    tick(Instant::now());
    assert_eq!(told.try_recv(), Ok(Err(AskError::Send(SendError::Closed))));
}

/// Mutation: keep what was cancelled until its time is over.
#[test]
fn a_cancelled_question_is_gone_at_once() {
    let mut theirs = Theirs::open(ME);
    let (asked, told) = ask(ME, HOUR);
    let number = theirs.question().head.number;
    asked.cancel();
    assert_eq!(deadline(), None);
    // Its sender went with the callback.
    assert_eq!(told.recv().ok(), None);
    answered(ME, number, Ok(encoded(5)));
}

#[test]
fn an_answer_of_another_type_and_a_callback_that_panics_harm_nobody() {
    let mut theirs = Theirs::open(ME);
    let (_asked, told) = ask(ME, HOUR);
    let number = theirs.question().head.number;
    answered(ME, number, Ok(Encoded::new(&"text").unwrap().into_bytes()));
    assert!(matches!(told.try_recv(), Ok(Err(AskError::Decode(_)))));
    desk::worker(ME).ask("?", Duration::ZERO, |_: Answer| panic!("a bug in a callback"));
    tick(Instant::now());
}

/// Mutation: no limit.
#[test]
fn questions_have_a_limit_for_each_worker() {
    let (_theirs, mut other) = (Theirs::open(ME), Theirs::open(Id(2)));
    for _ in 0..MOST {
        drop(ask(ME, HOUR));
    }
    let (_, one_more) = ask(ME, HOUR);
    let (_, another) = ask(Id(2), HOUR);
    tick(Instant::now());
    assert_eq!(one_more.try_recv(), Ok(Err(AskError::TooMany { limit: MOST })));
    answered(Id(2), other.question().head.number, Ok(encoded(5)));
    assert_eq!(another.try_recv(), Ok(Ok(5)));
    closed(ME);
}
