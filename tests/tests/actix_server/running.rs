//! A server in this process, and the end it comes to.

use std::future::Future;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use cluster::actix::{Server, ServerHandle};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Running {
    pub(crate) handle: ServerHandle,
    ended: Receiver<io::Result<()>>,
}

impl Running {
    pub(crate) fn new(server: Server) -> Running {
        let (sender, ended) = channel();
        let handle = server.handle();
        thread::spawn(move || sender.send(block_on(server)));
        Running { handle, ended }
    }

    pub(crate) fn end(&self) -> io::Result<()> {
        self.ended.recv_timeout(DEADLINE).expect("the server should have ended")
    }

    pub(crate) fn stop(&self) {
        drop(self.handle.stop(true));
        self.end().unwrap();
    }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What a handler and a test tell each other.
pub(crate) struct Gate {
    entered: Receiver<()>,
    open: tokio::sync::watch::Sender<bool>,
}

#[derive(Clone)]
pub(crate) struct Gated {
    entered: std::sync::mpsc::Sender<()>,
    open: tokio::sync::watch::Receiver<bool>,
}

pub(crate) fn gate() -> (Gate, Gated) {
    let (entered, receiver) = channel();
    let (sender, open) = tokio::sync::watch::channel(false);
    (Gate { entered: receiver, open: sender }, Gated { entered, open })
}

impl Gate {
    pub(crate) fn wait_entered(&self) {
        self.entered.recv_timeout(DEADLINE).expect("a handler should have been entered");
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Gated {
    pub(crate) async fn pass(mut self) {
        self.entered.send(()).unwrap();
        let _ = self.open.wait_for(|open| *open).await;
    }
}
