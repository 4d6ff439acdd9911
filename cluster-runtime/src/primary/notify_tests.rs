//! What is said when, without a service manager.

use super::*;

fn up(serve: usize) -> View {
    View { serve, wanted: serve, up: true, generation: 1, left: serve, ..View::default() }
}

fn starting(serve: usize, wanted: usize) -> View {
    View { up: false, wanted, left: wanted, ..up(serve) }
}

fn told_to_stop(left: usize, stopping: bool) -> View {
    View { told_to_stop: true, stopping, left, serve: if stopping { 0 } else { left }, ..up(0) }
}

fn serving(workers: usize) -> Story {
    let mut story = Story::default();
    story.look(&up(workers));
    story
}

/// Mutation: READY=1 when the first one is up; twice; or at every turn.
#[test]
fn p39_ready_is_said_once_when_all_are() {
    let mut story = Story::default();
    assert_eq!(story.look(&starting(0, 3)).as_deref(), Some("STATUS=starting: 0 of 3 workers are ready\n"));
    assert_eq!(story.look(&starting(0, 3)), None, "no news");
    assert_eq!(story.look(&starting(2, 3)).as_deref(), Some("STATUS=starting: 2 of 3 workers are ready\n"));
    assert_eq!(story.look(&up(3)).as_deref(), Some("READY=1\nSTATUS=3 workers serve, generation 1\n"));
    assert_eq!(story.look(&up(3)), None);
    // One has died, and its successor comes: the service is as ready as before.
    assert_eq!(story.look(&starting(2, 3)).as_deref(), Some("STATUS=2 workers serve, generation 1\n"));
    assert_eq!(story.look(&starting(1, 3)).as_deref(), Some("STATUS=1 worker serves, generation 1\n"));
    assert_eq!(story.look(&up(3)).as_deref(), Some("STATUS=3 workers serve, generation 1\n"));
}

/// Mutation: take one who is ready for all; one whose place is empty for ready.
#[test]
fn p39_up_is_when_everybody_is_ready_who_is_to_be_there() {
    use super::super::slot::Id;
    use super::super::step::{Ids, Input, Rules};
    use crate::event::{ExitStatus, Signal};
    let second = Duration::from_secs(1);
    let rules = Rules {
        restart: crate::config::Restart::Always,
        max_restarts: 9,
        restart_window: second,
        startup_timeout: second,
        drain_timeout: second,
        pre_drain: second,
        ..Rules::usual()
    };
    let (mut fleet, now) = (Fleet::new(rules, Ids::default()), Instant::now());
    let tell = |fleet: &mut Fleet, inputs: Vec<Input>| {
        for input in inputs {
            let _ = fleet.step(input, now);
        }
        View::of(fleet)
    };
    let births = (1..=2).map(|id| Input::Born { id: Id(id) });
    let view = tell(&mut fleet, [Input::Start { workers: 2 }].into_iter().chain(births).collect());
    assert_eq!((view.serve, view.wanted, view.up), (0, 2, false));
    let view = tell(&mut fleet, vec![Input::Ready { id: Id(1) }]);
    assert_eq!((view.serve, view.wanted, view.up), (1, 2, false));
    let view = tell(&mut fleet, vec![Input::Ready { id: Id(2) }]);
    assert_eq!((view.serve, view.wanted, view.up, view.generation), (2, 2, true, 1));
    let crash = |id| vec![Input::Closed { id }, Input::Exited { id, status: ExitStatus::Code(9) }];
    let view = tell(&mut fleet, crash(Id(2)));
    assert_eq!((view.serve, view.wanted, view.up), (1, 2, false), "its successor comes");
    let view = tell(&mut fleet, vec![Input::Born { id: Id(3) }].into_iter().chain(crash(Id(3))).collect());
    assert_eq!((view.serve, view.wanted, view.up), (1, 2, false), "later, this time");
    let view = tell(&mut fleet, vec![Input::Stop { signal: Some(Signal::TERM) }]);
    assert_eq!((view.serve, view.told_to_stop, view.stopping), (1, true, false));
    let view = tell(&mut fleet, vec![Input::Stop { signal: Some(Signal::TERM) }]);
    assert_eq!((view.serve, view.told_to_stop, view.stopping, view.left), (0, true, true, 1));
}

/// Mutation: leave out the time; say READY=1 at the next turn, and not at the end.
#[test]
fn p107_a_reload_begins_with_its_time_and_ends_with_ready() {
    let mut story = serving(2);
    let begun = story.begins(&up(2), 77);
    assert_eq!(begun.as_deref(), Some("RELOADING=1\nMONOTONIC_USEC=77\nSTATUS=reloading: 2 workers serve\n"));
    assert_eq!(story.look(&up(2)), None, "not ready before it has ended");
    let done = View { generation: 2, ..up(2) };
    assert_eq!(story.ends(&done, None).as_deref(), Some("READY=1\nSTATUS=2 workers serve, generation 2\n"));
    assert_eq!(story.look(&done), None);
}

/// Mutation: say nothing of it; or pass on what a preload has said as it is.
#[test]
fn p107_a_reload_that_failed_is_over_too_and_no_word_of_others_is_an_assignment() {
    let mut story = serving(2);
    story.begins(&up(2), 1);
    let words = story.ends(&up(2), Some("preload failed: \nMAINPID=1\0".into())).expect("words");
    assert_eq!(words, "READY=1\nSTATUS=2 workers serve, generation 1; preload failed:  MAINPID=1 \n");
    assert_eq!(story.look(&up(2)), None, "it stays");
    let words = story.begins(&up(2), 2).expect("words");
    assert!(words.ends_with("STATUS=reloading: 2 workers serve\n"), "until the next: {words}");
    story.ends(&up(2), Some("x".repeat(10_000)));
    assert!(story.status.len() < LONGEST + 100);
}

/// Mutation: tell of it all the same: READY=1 would be said before all are ready.
#[test]
fn a_reload_before_all_are_ready_is_part_of_the_start() {
    let mut story = Story::default();
    story.look(&starting(1, 2));
    assert_eq!(story.begins(&starting(1, 2), 1), None);
    assert_eq!(story.ends(&starting(1, 2), None), None);
    assert!(story.look(&up(2)).is_some_and(|words| words.starts_with("READY=1\n")));
}

/// Mutation: STOPPING=1 at the drain only; or once for each worker that leaves.
#[test]
fn p56_stopping_is_said_once_at_the_first_word_of_it() {
    let mut story = serving(2);
    let words = story.look(&told_to_stop(2, false));
    assert_eq!(words.as_deref(), Some("STOPPING=1\nSTATUS=stopping soon: 2 workers serve\n"));
    let words = story.look(&told_to_stop(2, true));
    assert_eq!(words.as_deref(), Some("STATUS=stopping: 2 left to finish\n"));
    assert_eq!(story.look(&told_to_stop(1, true)).as_deref(), Some("STATUS=stopping: 1 left to finish\n"));
    // And from a start, or a reload, too: READY=1 would say that it goes on.
    let mut story = Story::default();
    let words = story.look(&View { up: true, ..told_to_stop(2, true) });
    assert_eq!(words.as_deref(), Some("STOPPING=1\nSTATUS=stopping: 2 left to finish\n"));
    let mut story = serving(2);
    story.begins(&up(2), 1);
    assert_eq!(story.ends(&told_to_stop(2, true), Some("stopped".into())), None);
    assert!(story.look(&told_to_stop(2, true)).is_some_and(|words| words.starts_with("STOPPING=1\n")));
    assert_eq!(story.begins(&told_to_stop(2, true), 2), None);
}

/// Mutation: feed another's dog; once only; at the whole of its time.
#[test]
fn p39_the_watchdog_is_fed_at_half_its_time_if_it_is_ours() {
    let now = Instant::now();
    let new = |micros, pid| Watchdog::new(micros, pid, 7, now);
    for (micros, pid) in [
        (None, None),
        (Some("0"), None),
        (Some("x"), None),
        (Some("-1"), None),
        (Some("3000000"), Some("8")),
        (Some("3000000"), Some("")),
    ] {
        assert!(new(micros, pid).is_none(), "{micros:?} {pid:?}");
    }
    assert!(new(Some("3000000"), Some("7")).is_some());
    let mut dog = new(Some("3000000"), None).expect("ours");
    assert!(dog.is_due(now) && !dog.is_due(now));
    assert!(!dog.is_due(now + Duration::from_millis(1499)));
    assert!(dog.is_due(now + Duration::from_millis(1500)));
    assert!(!dog.is_due(now + Duration::from_millis(2999)));
}

/// Mutation: wait until it reads; drop what it has no room for; keep all of it for ever.
#[test]
fn p39_a_manager_that_does_not_read_holds_nobody_up() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("cluster-notify-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let manager = std::os::unix::net::UnixDatagram::bind_addr(&address).expect("bind");
    manager.set_nonblocking(true).expect("not to wait");
    let socket = NotifySocket::open(format!("@{name}").as_ref()).expect("an abstract address");
    let mut notify = Notify { socket: Some(socket), ..Notify::default() };
    let now = Instant::now();
    let mut said = 0;
    while notify.unsent.is_empty() {
        notify.say(Some(format!("STATUS={said}\n")), now);
        said += 1;
        assert!(said < 10_000, "it has room for everything");
    }
    assert_eq!(notify.deadline(), Some(now + AGAIN_AFTER));
    let read = || {
        let mut bytes = [0; 100];
        manager.recv(&mut bytes).ok().map(|length| String::from_utf8_lossy(&bytes[..length]).into_owned())
    };
    let mut heard = std::iter::from_fn(read).count();
    notify.send(now);
    heard += std::iter::from_fn(read).count();
    assert_eq!((heard, notify.deadline()), (said, None), "all of it arrives, later");
    while notify.unsent.len() < MOST_UNSENT {
        notify.say(Some("STATUS=\n".into()), now);
    }
    notify.say(Some("READY=1\n".into()), now);
    assert_eq!(notify.unsent.len(), MOST_UNSENT);
    assert_eq!(notify.unsent.back().map(String::as_str), Some("READY=1\n"), "the last word is kept");
}

/// Mutation: take any text for a path.
#[test]
fn an_address_is_a_path_or_an_abstract_name() {
    for bad in ["", "relative", "vsock:2:1234"] {
        assert!(NotifySocket::open(bad.as_ref()).is_err(), "{bad:?}");
    }
    assert!(NotifySocket::open("/run/notify".as_ref()).is_ok());
    assert!(NotifySocket::open("@name".as_ref()).is_ok());
    assert!(NotifySocket::open(format!("/{}", "x".repeat(200)).as_ref()).is_err());
}

/// Mutation: drop the oldest, whatever it is.
#[test]
fn a_manager_that_did_not_read_for_long_is_told_what_it_waits_for() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let name = format!("cluster-notify-test-{}", std::process::id());
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    manager.set_nonblocking(true).unwrap();
    let socket = NotifySocket::open(format!("@{name}").as_ref()).unwrap();
    let mut notify = Notify { socket: Some(socket), ..Notify::default() };
    let now = Instant::now();
    let status = |n: usize| Some(format!("STATUS={n} workers serve\n"));
    while notify.unsent.is_empty() {
        notify.say(status(0), now);
    }
    notify.say(Some("READY=1\nSTATUS=2 workers serve\n".to_owned()), now);
    for n in 0..3 * MOST_UNSENT {
        notify.say(status(n), now);
    }
    assert_eq!(notify.unsent.len(), MOST_UNSENT);
    let mut heard = Vec::new();
    while !notify.unsent.is_empty() {
        let mut bytes = [0; 100];
        while let Ok(read) = manager.recv(&mut bytes) {
            heard.push(String::from_utf8_lossy(&bytes[..read]).into_owned());
        }
        notify.send(now);
    }
    assert_eq!(heard.iter().filter(|words| words.starts_with("READY=1\n")).count(), 1);
}
