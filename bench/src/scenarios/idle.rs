//! Ten thousand connections that ask once and then stay: the memory and the processor time that they take while nothing happens.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use crate::bench::Bench;
use crate::process::private;
use crate::response::read;
use crate::server::Make;

pub(crate) fn run(bench: &mut Bench) -> io::Result<()> {
    let servers = bench.servers(|server| server.holds_idle());
    let wanted = if bench.options.quick { 200 } else { 10_000 };
    // Of each a descriptor here and one there, where one process may have them all.
    let count = wanted.min(bench.places.open_files / 2 - 500);
    let workers = bench.options.workers;
    bench.rounds("idle", &servers, workers, |bench, server, running| {
        let primary = || (server.make == Make::Cluster).then(|| private(running.pid()));
        let (before, first) = (running.memory(), primary());
        let held = (0..count).map(|_| hold(running.address)).collect::<io::Result<Vec<TcpStream>>>();
        let held = match held {
            Ok(held) => held,
            Err(error) => {
                bench.record.note(format!("{} does not hold {count} connections: {error}", server.title));
                return Ok(());
            }
        };
        // What the last of them left to do.
        std::thread::sleep(Duration::from_millis(200));
        let (memory, last) = (running.memory(), primary());
        let start = running.processor();
        std::thread::sleep(bench.options.time);
        let took = running.processor() - start;
        let lost = held.iter().filter(|stream| !stays(stream)).count();
        let mut add = |column, value| bench.record.add("idle", server.name, column, value);
        add("connections", (held.len() - lost) as f64);
        add("memory", memory as f64 / 1e6);
        add("each", memory.saturating_sub(before) as f64 / 1024.0 / held.len() as f64);
        add("cpu", took.as_secs_f64() * 1e3 / bench.options.time.as_secs_f64());
        if let (Some(first), Some(last)) = (first, last) {
            add("primary", last.saturating_sub(first) as f64 / 1024.0);
        }
        Ok(())
    })
}

/// One answered request, and the connection.
fn hold(address: SocketAddrV4) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let (mut got, mut scratch) = (Vec::new(), [0; 1024]);
    while read(&got, false).is_none() {
        match stream.read(&mut scratch)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            length => got.extend_from_slice(&scratch[..length]),
        }
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn stays(stream: &TcpStream) -> bool {
    stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
