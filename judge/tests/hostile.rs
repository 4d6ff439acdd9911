//! The judge judges: each class has a server that does exactly that, and the judge says so.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use cluster_judge::Class::{
    Corrupt, Duplicate, IdleClose, Lost, Ok, Raced, Refused, Reset, Timeout, Truncated,
};
use cluster_judge::{Address, Class, Crew, Kind, Plan, Verdict, content};
use socket2::Socket;
use tungstenite::{Message, WebSocket};

type Socketed = WebSocket<TcpStream>;

/// A server that treats each connection like this, one after the other.
fn server(treat: impl Fn(TcpStream) + Send + 'static) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(treat));
    Address::Tcp(address)
}

/// Reads one request without a body; its id. `None` at the end of the connection.
fn request(stream: &mut TcpStream) -> Option<u64> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Result::Ok(1)) {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("a head of text");
    head.split('/').nth(2)?.parse().ok()
}

fn reply(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The answer to each request, until there is none: that ends the connection.
fn answering(answer: impl Fn(usize, u64) -> Option<String> + Send + 'static) -> Address {
    server(move |mut stream| {
        for n in 1.. {
            let Some(text) = request(&mut stream).and_then(|id| answer(n, id)) else { return };
            // The client may have gone.
            let _ = stream.write_all(text.as_bytes());
        }
    })
}

/// A server of one request on each connection.
fn once(answer: impl Fn(u64) -> String + Send + 'static) -> Address {
    server(move |mut stream| {
        let Some(id) = request(&mut stream) else { return };
        let _ = stream.write_all(answer(id).as_bytes());
    })
}

fn talking(talk: impl Fn(&mut Socketed, Message) -> tungstenite::Result<()> + Send + 'static) -> Address {
    server(move |stream| {
        let Result::Ok(mut socket) = tungstenite::accept(stream) else { return };
        while let Result::Ok(message) = socket.read() {
            if !message.is_close() && talk(&mut socket, message).is_err() {
                return;
            }
        }
    })
}

/// The verdict on this server by one client, as soon as this many requests are in this class.
fn verdict(kind: Kind, address: Address, class: Class, count: u64) -> Verdict {
    let mut plan = Plan::on([address]);
    // Where the server is to hang up before the client asks, its thread has to have a processor in that pause.
    let pause = Duration::from_millis(if matches!(class, Reset | IdleClose) { 1000 } else { 100 });
    plan.crews = vec![Crew { kind, clients: 1, pause }];
    plan.timeout = Duration::from_millis(if class == Timeout { 100 } else { 10_000 });
    let trial = plan.begin().expect("start a client");
    assert!(trial.each_has(class, count), "{}", trial.verdict());
    trial.stop()
}

/// Nothing but this class, and right answers between.
#[track_caller]
fn assert_only(verdict: &Verdict, class: Class) {
    let others = Class::ALL.iter().filter(|other| **other != class && **other != Ok);
    let others: u64 = others.map(|other| verdict.count(*other)).sum();
    assert!(verdict.count(class) > 0 && others == 0, "{verdict}");
    assert_eq!(verdict.bad().is_empty(), !class.is_bad(), "{verdict}");
    assert!(verdict.bad().iter().all(|record| record.class() == class), "{verdict}");
    if class.is_bad() {
        assert!(!verdict.is_clean(), "{verdict}");
        assert!(verdict.to_string().contains(&format!("{} {}", verdict.count(class), class.name())));
    }
}

#[test]
fn right_answers_are_ok() {
    for kind in [Kind::OneShot, Kind::Preconnect, Kind::HalfClose] {
        let verdict = verdict(kind, once(|id| reply(&content::answer(id))), Ok, 10);
        assert_only(&verdict, Ok);
        assert!(verdict.is_clean(), "{verdict}");
    }
}

#[test]
fn nobody_listens_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    drop(listener);
    let nowhere = Address::Unix("/nowhere/at/all".into());
    for address in [address, nowhere] {
        assert_only(&verdict(Kind::OneShot, address, Refused, 3), Refused);
    }
}

#[test]
fn aborted_before_a_byte_was_written_reset() {
    let address = server(|stream| Socket::from(stream).set_linger(Some(Duration::ZERO)).unwrap());
    assert_only(&verdict(Kind::Preconnect, address, Reset, 1), Reset);
}

#[test]
fn read_and_not_answered_lost() {
    assert_only(&verdict(Kind::OneShot, once(|_| String::new()), Lost, 3), Lost);
}

#[test]
fn closed_without_having_read_it_lost() {
    let address = server(|mut stream| {
        // As much as shows that the request has come; what is left unread makes the close a reset.
        let _ = stream.read(&mut [0]);
    });
    let verdict = verdict(Kind::Download, address, Lost, 3);
    assert_only(&verdict, Lost);
    assert!(verdict.to_string().contains("os error 104"), "{verdict}");
}

#[test]
fn half_of_an_upload_read_lost() {
    let address = server(|mut stream| drop(stream.read_exact(&mut [0; 20_000])));
    assert_only(&verdict(Kind::Upload, address, Lost, 2), Lost);
}

#[test]
fn a_part_of_the_answer_truncated() {
    for cut in [1, 5] {
        let part = move |id| reply(&content::answer(id)).split_off(0)[..40 - cut].to_owned();
        assert_only(&verdict(Kind::OneShot, once(part), Truncated, 3), Truncated);
    }
}

#[test]
fn another_body_or_status_corrupt() {
    let wrong: [fn(u64) -> String; 4] = [
        |id| reply(&content::answer(id + 1)),
        |id| reply(&content::answer(id)).replace("200 OK", "503 Busy"),
        |id| reply(&content::answer(id)) + "and more",
        |_| "something else\r\n\r\n".to_owned(),
    ];
    for wrong in wrong {
        assert_only(&verdict(Kind::OneShot, once(wrong), Corrupt, 3), Corrupt);
    }
}

#[test]
fn a_body_with_one_wrong_byte_corrupt() {
    let address = server(|mut stream| {
        let id = request(&mut stream).unwrap();
        let mut body = content::bytes(id, 1 << 20);
        body[200_000] ^= 1;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    });
    assert_only(&verdict(Kind::Download, address, Corrupt, 1), Corrupt);
}

#[test]
fn an_answer_given_twice_duplicate() {
    let twice = |id| reply(&content::answer(id)).repeat(2);
    assert_only(&verdict(Kind::OneShot, once(twice), Duplicate, 3), Duplicate);
}

#[test]
fn the_answer_to_an_earlier_request_duplicate() {
    let first = |n: usize, id: u64| Some(reply(&content::answer(id - (n as u64 - 1).min(1))));
    assert_only(&verdict(Kind::KeepAlive, answering(first), Duplicate, 1), Duplicate);
}

#[test]
fn silence_timeout() {
    let address = server(|mut stream| while request(&mut stream).is_some() {});
    assert_only(&verdict(Kind::OneShot, address, Timeout, 2), Timeout);
}

#[test]
fn an_answer_without_the_end_that_was_asked_for_timeout() {
    let address = answering(|_, id| Some(reply(&content::answer(id))));
    assert_only(&verdict(Kind::OneShot, address, Timeout, 2), Timeout);
}

#[test]
fn a_backlog_that_nobody_empties_timeout() {
    let path = std::env::temp_dir().join(format!("judge-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = Address::Unix(path.clone());
    assert_only(&verdict(Kind::Preconnect, address, Timeout, 3), Timeout);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn closed_between_two_requests_idle_close() {
    let address = once(|id| reply(&content::answer(id)));
    let verdict = verdict(Kind::KeepAlive, address, IdleClose, 1);
    assert_only(&verdict, IdleClose);
    assert!(verdict.is_clean(), "{verdict}");
}

#[test]
fn closed_after_a_word_of_it_idle_close() {
    let last = |_, id| Some(reply(&content::answer(id)).replace("OK", "OK\r\nConnection: close"));
    let address = server(move |mut stream| {
        let Some(id) = request(&mut stream) else { return };
        let _ = stream.write_all(last(1, id).unwrap().as_bytes());
    });
    let verdict = verdict(Kind::Pipelined, address, IdleClose, 1);
    assert_only(&verdict, IdleClose);
}

#[test]
fn closed_as_the_next_request_came_raced() {
    let address = answering(|n, id| (n == 1).then(|| reply(&content::answer(id))));
    assert_only(&verdict(Kind::KeepAlive, address, Raced, 1), Raced);
}

#[test]
fn a_websocket_is_judged_too() {
    let echo = talking(|socket, message| socket.send(message));
    assert_only(&verdict(Kind::WebSocket, echo, Ok, 100), Ok);
    let asks_to_leave = talking(|socket, message| {
        socket.send(Message::text("bye"))?;
        socket.send(message)
    });
    assert_only(&verdict(Kind::WebSocket, asks_to_leave, Ok, 20), Ok);
    let twice = talking(|socket, message| {
        socket.send(message.clone())?;
        socket.send(message)
    });
    assert_only(&verdict(Kind::WebSocket, twice, Duplicate, 1), Duplicate);
    let other = talking(|socket, _| socket.send(Message::text("something else")));
    assert_only(&verdict(Kind::WebSocket, other, Corrupt, 1), Corrupt);
    let crossing = talking(|socket, _| socket.close(None));
    assert_only(&verdict(Kind::WebSocket, crossing, Raced, 1), Raced);
    let silent = talking(|_, _| Result::Ok(()));
    assert_only(&verdict(Kind::WebSocket, silent, Timeout, 1), Timeout);
    let gone = talking(|_, _| Err(tungstenite::Error::ConnectionClosed));
    let lost = verdict(Kind::WebSocket, gone, Lost, 1);
    // A message more could perhaps not even be written.
    assert!(lost.count(Lost) > 0 && lost.count(IdleClose) == 0 && !lost.is_clean(), "{lost}");
    let without_a_frame = talking(|socket, message| {
        socket.send(message)?;
        Err(tungstenite::Error::ConnectionClosed)
    });
    let verdict = verdict(Kind::WebSocket, without_a_frame, Truncated, 1);
    assert!(verdict.count(Truncated) > 0 && !verdict.is_clean(), "{verdict}");
}

#[test]
fn who_may_stop_may_not_open_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = |listener: TcpListener, count| {
        thread::spawn(move || {
            for mut stream in listener.incoming().take(count).map_while(Result::ok) {
                let Some(id) = request(&mut stream) else { continue };
                let _ = stream.write_all(reply(&content::answer(id)).as_bytes());
            }
        })
    };
    let first = serve(listener, 5);
    let mut plan = Plan::on([Address::Tcp(address)]);
    plan.crews = vec!["one-shot=1@5ms".parse().unwrap()];
    plan.may_stop = true;
    let trial = plan.begin().unwrap();
    first.join().unwrap();
    assert!(trial.each_has(Refused, 3), "{}", trial.verdict());
    // Whoever stood in the backlog when the listener was closed was reset or lost; the rest is as it may be.
    let stopped = trial.verdict();
    assert!(
        !stopped.to_string().contains("refused;") && !stopped.to_string().contains("open again"),
        "{stopped}"
    );
    serve(TcpListener::bind(address).unwrap(), 100_000);
    assert!(trial.each_has(Ok, 3), "{}", trial.verdict());
    let verdict = trial.stop();
    assert!(verdict.faults().iter().any(|fault| fault.contains("open again")), "{verdict}");
}

#[test]
fn a_server_that_was_never_asked_is_not_clean() {
    let verdict = Plan::on(["127.0.0.1:1".parse().unwrap()]).begin().unwrap().stop();
    assert!(!verdict.is_clean(), "{verdict}");
}
