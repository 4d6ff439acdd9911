//! As `net_echo`, with two executor threads: whoever sends `hang` has one of them hang for ever.

use cluster::net::{TcpListener, TcpStream};
use cluster_tests::{announce, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn talk(mut stream: TcpStream) {
    let mut word = [0; 4];
    let _ = stream.write_all(format!("{}\n", serve::me()).as_bytes()).await;
    while stream.read_exact(&mut word).await.is_ok() {
        if word == *b"hang" {
            println!("hanging {}", cluster::worker().id());
            loop {
                std::thread::park();
            }
        }
        let _ = stream.write_all(&word).await;
    }
}

#[cluster::main(primary = announce::life, runtime = "multi_thread", threads = 2)]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(talk(stream));
    }
}
