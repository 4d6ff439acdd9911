//! Worker 1 gives the primary what is no listening socket as if it were one, and says what it was told; then all serve.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use actix_web::App;
use cluster::actix::HttpServer;
use cluster_tests::{announce, channel, serve};
use rustix::event::epoll;
use rustix::net::{AddressFamily, SocketType, socket};

fn kinds() -> io::Result<[(&'static str, OwnedFd); 8]> {
    Ok([
        ("pipe", io::pipe()?.0.into()),
        ("directory", File::open("/")?.into()),
        ("device", File::open("/dev/zero")?.into()),
        ("epoll", epoll::create(epoll::CreateFlags::CLOEXEC)?),
        ("connection", UnixStream::pair()?.0.into()),
        ("datagrams", UdpSocket::bind("127.0.0.1:0")?.into()),
        ("unbound", socket(AddressFamily::INET, SocketType::STREAM, None)?),
        ("channel", channel::channel()),
    ])
}

#[cluster::main(workers = 2, primary = announce::life)]
async fn main() -> io::Result<()> {
    if cluster::worker().id() == 1 {
        for (kind, fd) in kinds()? {
            let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
            let told = HttpServer::new(App::new).listen(TcpListener::from(fd)).err();
            println!(
                "{kind} {} {}",
                link.display(),
                told.map_or("taken".to_owned(), |error| error.to_string())
            );
        }
    }
    serve::all().await
}
