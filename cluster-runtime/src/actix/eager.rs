//! A connection that is read from before anybody waits for it.
//!
//! Its request is there already, most of the time: it has come while the connection was on its way through the primary. So the
//! first read is tried at once, and a client that wants one answer has it without that the connection ever was in the epoll
//! set: that saves two calls to put it there and to take it out, and a wait in between, which is more than its way over the
//! lane costs. One that stays is put there, and is tokio's from then on.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::poll_proceed;

/// Read at once, at first; most requests are smaller.
const FIRST: usize = 2048;

/// A TCP connection.
pub(super) enum Eager {
    /// Not known to the runtime yet.
    Direct(StdTcpStream, Seen),
    Registered(TcpStream),
    /// It could not be registered.
    Lost,
}

/// What was seen of the bytes that come.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Seen {
    /// There may be more of them.
    More,
    /// There were no more.
    All,
    /// The reader was told so, and is polled once again though nothing has come: by then the connection may have ended.
    Told,
}

impl Eager {
    /// `socket` is non-blocking. Where somebody is to be shown tokio's stream, it is one from the beginning.
    pub(super) fn new(socket: StdTcpStream, shown: bool) -> io::Result<Eager> {
        match shown {
            true => Ok(Eager::Registered(TcpStream::from_std(socket)?)),
            false => Ok(Eager::Direct(socket, Seen::More)),
        }
    }

    fn registered(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let Eager::Direct(..) = self
            && let Eager::Direct(socket, _) = std::mem::replace(self, Eager::Lost)
        {
            *self = Eager::Registered(TcpStream::from_std(socket)?);
        }
        match self {
            Eager::Registered(stream) => Ok(Pin::new(stream)),
            _ => Err(ErrorKind::NotConnected.into()),
        }
    }
}

/// What was tried at once; nothing where it has to be waited for. Pending where this task is to let others go on, as with tokio's own
/// streams: a client that sends, or takes, as fast as we can would have the thread for itself.
fn at_once<T>(cx: &mut Context<'_>, mut call: impl FnMut() -> io::Result<T>) -> Poll<Option<io::Result<T>>> {
    let budget = ready!(poll_proceed(cx));
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Ready(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => {
                budget.made_progress();
                return Poll::Ready(Some(done));
            }
        }
    }
}

impl AsyncRead for Eager {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Eager::Direct(socket, seen @ Seen::More) => {
                let room = buffer.remaining().min(FIRST);
                if let Some(read) = ready!(at_once(cx, || socket.read(buffer.initialize_unfilled_to(room)))) {
                    let count = read?;
                    buffer.advance(count);
                    // The end may be read as often as one likes.
                    if count > 0 && count < room {
                        *seen = Seen::All;
                    }
                    return Poll::Ready(Ok(()));
                }
            }
            // Whoever reads until he has to wait waits here, with a request in his hands.
            Eager::Direct(_, seen @ Seen::All) => {
                *seen = Seen::Told;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            _ => {}
        }
        self.registered()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Eager {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Eager::Direct(socket, _) = &mut *self
            && let Some(written) = ready!(at_once(cx, || socket.write(bytes)))
        {
            return Poll::Ready(written);
        }
        self.registered()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Eager::Direct(socket, _) = &mut *self
            && let Some(written) = ready!(at_once(cx, || socket.write_vectored(bytes)))
        {
            return Poll::Ready(written);
        }
        self.registered()?.poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is kept back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Eager::Direct(socket, _) => Poll::Ready(match socket.shutdown(Shutdown::Write) {
                // The client was faster.
                Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
                shut => shut,
            }),
            Eager::Registered(stream) => Pin::new(stream).poll_shutdown(cx),
            Eager::Lost => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (StdTcpStream, Eager) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = StdTcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        (client, Eager::new(socket, false).unwrap())
    }

    fn named<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
        std::thread::Builder::new().name("client".to_owned()).spawn(run).unwrap()
    }

    fn is_registered(stream: &Eager) -> bool {
        matches!(stream, Eager::Registered(_))
    }

    /// Mutation: register in `new`.
    #[tokio::test]
    async fn one_request_that_is_there_is_answered_without_the_epoll_set() {
        let (mut client, mut stream) = pair();
        client.write_all(b"a request").unwrap();
        let mut buffer = [0; 64];
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 9);
        stream.write_all(b"an answer").await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(!is_registered(&stream));
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "an answer");
    }

    /// Mutation: wake nobody who is told that there is no more.
    #[tokio::test]
    async fn what_comes_later_is_waited_for() {
        tokio::time::timeout(Duration::from_secs(10), later()).await.expect("whoever waits is told");
    }

    async fn later() {
        let (mut client, mut stream) = pair();
        let mut buffer = [0; 64];
        // Nothing is there yet.
        let early = tokio::time::timeout(Duration::from_millis(5), stream.read(&mut buffer)).await;
        assert!(early.is_err());
        assert!(is_registered(&stream));
        client.write_all(b"one").unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 3);

        let (mut client, mut stream) = pair();
        client.write_all(b"one").unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 3);
        // By another thread, while it is waited for.
        let writer = named(move || {
            client.write_all(b"two").unwrap();
            client
        });
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 3);
        assert!(is_registered(&stream));
        drop(writer.join().unwrap());
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0, "the end");
    }

    /// Mutation: take a write that would block for an error.
    #[tokio::test]
    async fn more_than_fits_goes_both_ways_whole() {
        let (mut client, mut stream) = pair();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
        let there = sent.clone();
        let peer = named(move || {
            client.write_all(&there).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut back = Vec::new();
            client.read_to_end(&mut back).unwrap();
            back
        });
        let mut came = Vec::new();
        stream.read_to_end(&mut came).await.unwrap();
        stream.write_all(&came).await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(came == sent && peer.join().unwrap() == sent);

        // Written to before anything was read, it is not registered yet when there is no room for more.
        let (mut client, mut stream) = pair();
        let peer = named(move || {
            let mut came = Vec::new();
            client.read_to_end(&mut came).unwrap();
            came
        });
        let much = sent.repeat(8);
        stream.write_all(&much).await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(is_registered(&stream) && peer.join().unwrap() == much);
    }

    /// Mutation: spend nothing of what a task may do before others go on.
    #[tokio::test]
    async fn whoever_reads_and_writes_on_lets_others_go_on() {
        let (mut client, mut stream) = pair();
        client.write_all(&[0; 100 * FIRST]).unwrap();
        let reads = std::future::poll_fn(|cx| {
            let mut buffer = [0; 1];
            let is_read = |_: &u32| {
                Pin::new(&mut stream).poll_write(cx, b"1").is_ready()
                    && Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut buffer)).is_ready()
            };
            Poll::Ready((0..1000).take_while(is_read).count())
        });
        let reads = reads.await;
        assert!((1..500).contains(&reads) && !is_registered(&stream), "{reads}");
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 8, "and goes on itself");
    }

    /// Mutation: disregard `shown`.
    #[tokio::test]
    async fn whoever_is_shown_the_stream_sees_tokios() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = StdTcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        assert!(is_registered(&Eager::new(socket, true).unwrap()));
    }
}
