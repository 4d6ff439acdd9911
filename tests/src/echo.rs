//! In a fixture's workers: an echo server over sockets of `cluster::net`. Its first words on a connection say who it is.

use cluster::net::{TcpListener, UdpSocket, UnixListener};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::serve::me;

/// Serves until the process ends.
///
/// # Panics
/// When accepting fails.
pub async fn tcp(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        tokio::spawn(echo(stream));
    }
}

/// Serves until the process ends.
///
/// # Panics
/// When accepting fails.
pub async fn unix(listener: UnixListener) {
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        tokio::spawn(echo(stream));
    }
}

/// Answers each datagram with `worker 1 slot 0 pid 123 generation 0 body` and what was in it, until the process ends.
///
/// # Panics
/// When receiving fails.
pub async fn udp(socket: UdpSocket) {
    let mut buffer = vec![0; 1024];
    loop {
        let (read, from) = socket.recv_from(&mut buffer).await.expect("receive");
        let answer = format!("{} body {}", me(), String::from_utf8_lossy(&buffer[..read]));
        // Whoever asked may have gone.
        let _ = socket.send_to(answer.as_bytes(), from).await;
    }
}

/// `worker 1 slot 0 pid 123 generation 0` and a new line, and then whatever comes, until the client's end of it.
pub async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    // The client may go at any time.
    if stream.write_all(format!("{}\n", me()).as_bytes()).await.is_err() {
        return;
    }
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
