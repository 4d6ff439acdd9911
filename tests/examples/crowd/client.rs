//! The clients: processes of this same program, which do what they read and say when it is done.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use cluster_tests::process;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::Shares;

/// What this program is started with to be one of them.
pub(crate) const WORD: &str = "clients";

const PATIENCE: Duration = Duration::from_secs(60);

/// All of them.
pub(crate) struct Clients(Vec<OneProcess>);

struct OneProcess {
    child: Child,
    orders: ChildStdin,
    words: BufReader<ChildStdout>,
}

impl Clients {
    /// Starts `count` of them, `most` in each process; no address of these is another group's. The program is the one that runs,
    /// though its file may be a newer one by now.
    pub(crate) fn start(group: u8, count: usize, most: usize, address: &str) -> Self {
        let processes = count.div_ceil(most).max(4);
        let start = |n: usize| {
            let count = count * (n + 1) / processes - count * n / processes;
            let from = Ipv4Addr::new(127, group, 0, u8::try_from(n + 2).expect("some dozen processes"));
            let mut command = Command::new("/proc/self/exe");
            command.args([WORD, &from.to_string(), &count.to_string(), address]);
            let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let mut child = child.expect("start a process of clients");
            let orders = child.stdin.take().expect("its orders");
            let words = BufReader::new(child.stdout.take().expect("its words"));
            OneProcess { child, orders, words }
        };
        Self((0..processes).map(start).collect())
    }

    /// Waits until everybody is served; by whom.
    pub(crate) fn connected(&mut self) -> Shares {
        let mut all = Shares::new();
        for process in &mut self.0 {
            for word in process.line().split_whitespace() {
                let (worker, count) = word.split_once(':').expect("a worker and a number");
                *all.entry(worker.parse().expect("a worker")).or_default() +=
                    count.parse::<usize>().expect("a number");
            }
        }
        all
    }

    /// Has each ask once; how many were answered.
    pub(crate) fn ask(&mut self) -> usize {
        for process in &mut self.0 {
            process.orders.write_all(b"ask\n").expect("order");
        }
        self.0.iter_mut().map(|process| process.line().trim().parse::<usize>().expect("a number")).sum()
    }

    /// Has all of them go.
    pub(crate) fn end(self) {
        for OneProcess { mut child, orders, mut words } in self.0 {
            drop(orders);
            words.read_to_end(&mut Vec::new()).expect("read its last words");
            assert!(
                child.wait().expect("reap a process of clients").success(),
                "a process of clients failed"
            );
        }
    }
}

impl OneProcess {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.words.read_line(&mut line).expect("read what clients say");
        line
    }
}

/// In such a process.
pub(crate) fn run(from: &str, count: usize, address: &str) -> io::Result<()> {
    process::raise_descriptors();
    let from: Ipv4Addr = from.parse().map_err(io::Error::other)?;
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let clients = (0..count).map(|_| open(from, address)).collect::<io::Result<Vec<_>>>()?;
    let mut shares = Shares::new();
    for client in &clients {
        *shares.entry(worker(client)?).or_default() += 1;
    }
    let shares: Vec<_> = shares.iter().map(|(worker, count)| format!("{worker}:{count}")).collect();
    println!("{}", shares.join(" "));
    for _ in io::stdin().lines() {
        clients.iter().try_for_each(|mut client| client.write_all(b"hello"))?;
        let answered = |mut client: &TcpStream| {
            let mut answer = [0; 5];
            client.read_exact(&mut answer).is_ok_and(|()| answer == *b"hello")
        };
        println!("{}", clients.iter().filter(|client| answered(client)).count());
    }
    Ok(())
}

fn open(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrV4::new(from, 0))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Who serves it: it says so first, in a line.
fn worker(mut client: &TcpStream) -> io::Result<u64> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut some = [0; 128];
        let read = client.read(&mut some)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&some[..read]);
    }
    let line = String::from_utf8_lossy(&line);
    let worker = line.split(' ').nth(1).and_then(|id| id.parse().ok());
    worker.ok_or_else(|| io::Error::other(format!("who is {line:?}?")))
}
