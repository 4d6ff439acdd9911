//! In a fixture's workers: sockets of `cluster::net` that a test binds and drops at will, over a control connection of
//! plain tokio to each worker. The test's side is [`crate::control`].

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use cluster::net::{ListenOptions, TcpListener, UdpSocket, UnixListener};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::task::JoinHandle;

use crate::echo;
use crate::serve::me;

type Held = BTreeMap<String, JoinHandle<()>>;

/// Obeys one control connection after the other; `control 1 127.0.0.1:40123` says where.
///
/// # Errors
/// Those of the control socket.
pub async fn obey() -> io::Result<()> {
    let control = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("control {} {}", cluster::worker().id(), control.local_addr()?);
    let mut held = Held::new();
    loop {
        let mut wire = BufReader::new(control.accept().await?.0);
        let mut line = String::new();
        while wire.read_line(&mut line).await? > 0 {
            let answer = match order(line.trim_end(), &mut held).await {
                Ok(answer) => format!("ok {answer}\n"),
                Err(error) => {
                    format!("error {:?} {} {error}\n", error.kind(), error.raw_os_error().unwrap_or(0))
                }
            };
            wire.write_all(answer.as_bytes()).await?;
            line.clear();
        }
    }
}

/// `tcp NAME ADDRESS OPTION…`, `drop NAME`, and so on.
async fn order(line: &str, held: &mut Held) -> io::Result<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let word = |n: usize| words.get(n).copied().unwrap_or_default();
    let (name, at) = (word(1).to_owned(), word(2));
    let options = words.get(3..).unwrap_or_default();
    let number = at.parse().unwrap_or(-1);
    match word(0) {
        "tcp" => serve_tcp(tcp(options).bind(at).await?, name, held),
        "tcp-fd" => serve_tcp(TcpListener::inherited(number).await?, name, held),
        "tcp-name" => serve_tcp(TcpListener::activated(at).await?, name, held),
        "unix-name" => serve_unix(UnixListener::activated(at).await?, name, held),
        "udp-name" => serve_udp(UdpSocket::activated(at).await?, name, held),
        "adopt" => serve_tcp(TcpListener::from_std(std::net::TcpListener::bind(at)?)?, name, held),
        "hold" => {
            let listener = tcp(options).bind(at).await?;
            let address = listener.local_addr()?;
            held.insert(name, tokio::spawn(hold(listener)));
            Ok(address.to_string())
        }
        "unix" => serve_unix(unix(options).bind(at).await?, name, held),
        "unix-fd" => serve_unix(UnixListener::inherited(number).await?, name, held),
        "udp" => serve_udp(udp(options).bind(at).await?, name, held),
        "udp-fd" => serve_udp(UdpSocket::inherited(number).await?, name, held),
        // From a socket of its own, `word(3)` times to `at`.
        "send" => {
            let socket = UdpSocket::bind("127.0.0.1:0").await?;
            for _ in 0..word(3).parse().unwrap_or(1) {
                socket.send_to(me().as_bytes(), at).await?;
            }
            Ok(String::new())
        }
        "drop" => {
            let Some(task) = held.remove(&name) else { return Err(io::ErrorKind::NotFound.into()) };
            task.abort();
            let _ = task.await;
            Ok(String::new())
        }
        // Asks, and does not wait for the answer.
        "ask" => {
            let mut asking = pin!(TcpListener::bind(at));
            poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx).is_ready())).await;
            Ok(String::new())
        }
        "ask-udp" => {
            let mut asking = pin!(UdpSocket::bind(at));
            poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx).is_ready())).await;
            Ok(String::new())
        }
        "disconnect" => {
            cluster::worker().disconnect();
            if held.is_empty() {
                // Nothing here will end by itself.
                tokio::spawn(async {
                    cluster::worker().disconnected().await;
                    std::process::exit(0)
                });
            }
            Ok(String::new())
        }
        _ => Err(io::Error::other(format!("what is {line:?}?"))),
    }
}

fn serve_tcp(listener: TcpListener, name: String, held: &mut Held) -> io::Result<String> {
    let address = listener.local_addr()?;
    held.insert(name, tokio::spawn(echo::tcp(listener)));
    Ok(address.to_string())
}

fn serve_unix(listener: UnixListener, name: String, held: &mut Held) -> io::Result<String> {
    held.insert(name, tokio::spawn(echo::unix(listener)));
    Ok(String::new())
}

fn serve_udp(socket: UdpSocket, name: String, held: &mut Held) -> io::Result<String> {
    let address = socket.local_addr()?;
    held.insert(name, tokio::spawn(echo::udp(socket)));
    Ok(address.to_string())
}

async fn hold<T>(_listener: T) {
    std::future::pending().await
}

fn flag(option: &str) -> (&str, &str) {
    option.split_once('=').unwrap_or((option, "true"))
}

fn is(value: &str) -> bool {
    value == "true"
}

fn tcp(options: &[&str]) -> ListenOptions<TcpListener> {
    options.iter().fold(TcpListener::options(), |all, option| match flag(option) {
        ("backlog", clients) => all.backlog(clients.parse().expect("a number")),
        ("ipv6_only", value) => all.ipv6_only(is(value)),
        ("exclusive", value) => all.exclusive(is(value)),
        ("reuse_port", value) => all.reuse_port(is(value)),
        other => panic!("what is {other:?}?"),
    })
}

fn unix(options: &[&str]) -> ListenOptions<UnixListener> {
    options.iter().fold(UnixListener::options(), |all, option| match flag(option) {
        ("backlog", clients) => all.backlog(clients.parse().expect("a number")),
        ("mode", mode) => all.mode(u32::from_str_radix(mode, 8).expect("an octal number")),
        ("exclusive", value) => all.exclusive(is(value)),
        other => panic!("what is {other:?}?"),
    })
}

fn udp(options: &[&str]) -> ListenOptions<UdpSocket> {
    options.iter().fold(UdpSocket::options(), |all, option| match flag(option) {
        ("ipv6_only", value) => all.ipv6_only(is(value)),
        ("exclusive", value) => all.exclusive(is(value)),
        ("reuse_port", value) => all.reuse_port(is(value)),
        other => panic!("what is {other:?}?"),
    })
}
