//! What user code in the primary reaches: the workers, and a tray for what it wants done.
//!
//! A callback runs in the middle of the loop, so nothing is done there and then but sending a message: what it
//! asks for is put on the tray, and the loop takes it from there.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::time::Instant;

use serde::Serialize;

use super::slot::Id;
use super::step::{Fleet, Ids, Input};
use super::{hub, rows, status};
use crate::error::{AskError, SendError, SendWithError};
use crate::event::{Exit, Signal, State};
use crate::fork::Fork;
use crate::ipc::channel::Encoded;
use crate::ipc::frame::Head;
use crate::load::Load;
use crate::reload::Reload;
use crate::upgrade::Upgrade;

thread_local! {
    static DESK: RefCell<Option<Desk>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Desk {
    ids: Ids,
    workers: BTreeMap<Id, Worker>,
    tray: VecDeque<Input>,
    last_reload: Option<Reload>,
    last_upgrade: Option<Upgrade>,
    /// What those are to be given that [`fork`] and [`fork_with`] were asked for.
    forks: BTreeMap<Id, Fork>,
    /// There is no primary: what is ordered can only be told to this very process.
    unclustered: bool,
}

/// A worker, as the primary sees it; not the process itself, which has [`ThisWorker`](crate::ThisWorker).
///
/// A handle: cloning it is cheap, and it stays valid, if of little use, when the worker is dead. Node: `Worker`
/// in the primary.
#[derive(Clone)]
pub struct Worker {
    id: Id,
    record: Arc<Record>,
}

#[derive(Debug, Default)]
struct Record {
    slot: Note<usize>,
    pid: Note<u32>,
    generation: Note<u64>,
    state: Note<State>,
    connected: Note<bool>,
    asked: Note<bool>,
    /// Unclustered, there is no process behind it but this one.
    here: Option<Alone>,
}

/// How the one worker of a program that runs unclustered is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alone {
    /// Puts a message into its inbox.
    pub(crate) deliver: fn(Vec<u8>, Option<OwnedFd>),
    /// Has it answer a question within a time.
    pub(crate) ask: fn(Vec<u8>, Duration, Answered),
    /// What it has done.
    pub(crate) load: fn() -> Load,
}

/// Is told the answer.
pub(crate) type Answered = Box<dyn FnOnce(Result<Vec<u8>, AskError>) + Send>;

/// A cell that may be sent along with its worker, into a callback or a list that one keeps; only the primary's thread
/// ever looks into it, or, unclustered, whoever holds it.
#[derive(Debug, Default)]
struct Note<T>(Mutex<T>);

impl<T: Copy> Note<T> {
    fn get(&self) -> T {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

impl Worker {
    fn new(id: Id) -> Worker {
        let record = Record::default();
        record.connected.set(true);
        Worker { id, record: Arc::new(record) }
    }

    /// The one worker of a program that runs unclustered: this process.
    pub(crate) fn unclustered(alone: Alone) -> Worker {
        let record = Record { here: Some(alone), ..Record::default() };
        record.connected.set(true);
        record.pid.set(std::process::id());
        record.generation.set(1);
        record.state.set(State::Listening);
        Worker { id: Id(1), record: Arc::new(record) }
    }

    /// Counts up from 1 and is never given to another. Node: `worker.id`.
    pub fn id(&self) -> u64 {
        self.id.0
    }

    /// The place it fills, from 0 on; its replacement will have the same. Known from the event `fork` on, 0 before.
    pub fn slot(&self) -> usize {
        self.record.slot.get()
    }

    /// The process's id. Known from the event `fork` on, 0 before. Node: `worker.process.pid`.
    pub fn pid(&self) -> u32 {
        self.record.pid.get()
    }

    /// Which start of the code it belongs to: 1, and one more with each reload. Known from the event `fork` on, 0 before.
    pub fn generation(&self) -> u64 {
        self.record.generation.get()
    }

    /// What it is doing. Node: `worker.state`.
    pub fn state(&self) -> State {
        self.record.state.get()
    }

    /// Sends a message, which arrives there at [`messages`](crate::ThisWorker::messages), in order. Never waits.
    /// Node: `worker.send`.
    ///
    /// # Errors
    /// [`SendError::Closed`] when it is gone or not yet forked, [`SendError::Full`] when it does not read,
    /// [`SendError::TooLarge`] and [`SendError::Encode`] when this message can't be sent at all. Nothing was sent then.
    pub fn send<M: Serialize>(&self, message: M) -> Result<(), SendError> {
        self.post(&Encoded::new(&message)?)
    }

    /// As [`send`](Worker::send), with a descriptor: a file, a pipe, a connection. It arrives with exactly this message,
    /// at [`recv_with`](crate::Messages::recv_with), and is the worker's from then on; this process keeps nothing of it.
    /// Node: `worker.send(message, handle)`.
    ///
    /// ```compile_fail,E0382
    /// # fn twice(worker: cluster::Worker, socket: std::net::TcpStream) {
    /// worker.send_with("serve this", socket);
    /// worker.send_with("and again", socket); // it is no longer here: use of a moved value
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Worker::send), and [`SendError::Full`] when 64 descriptors wait to be written; the error gives the
    /// descriptor back.
    pub fn send_with<M: Serialize>(&self, message: M, fd: impl Into<OwnedFd>) -> Result<(), SendWithError> {
        let fd = fd.into();
        let message = match Encoded::new(&message) {
            Ok(message) => message,
            Err(reason) => return Err(SendWithError::new(reason, fd)),
        };
        if let Some(alone) = self.record.here {
            (alone.deliver)(message.into_bytes(), Some(fd));
            return Ok(());
        }
        match hub::post(self.id, Head::USER, message.as_bytes(), Some(fd)) {
            Err(hub::Refused { error, fd: Some(fd) }) => Err(SendWithError::new(error, fd)),
            // Its descriptor comes back with each refusal.
            Ok(()) | Err(hub::Refused { fd: None, .. }) => Ok(()),
        }
    }

    /// How many bytes of what was sent to it wait here, since it does not read as fast; past 32 MiB,
    /// [`send`](Worker::send) refuses more. Node: what `send` returning `false` is about.
    pub fn backlog(&self) -> usize {
        hub::backlog(self.id)
    }

    /// What it has done, as it counts itself, up to now: no message is needed, and a worker that stands still is seen as well.
    /// Known from the event `fork` to the event `exit`, that included; `None` else, and of a worker of a program from before
    /// an upgrade that did not count. Node has no word for it.
    pub fn load(&self) -> Option<Load> {
        match self.record.here {
            Some(alone) => Some((alone.load)()),
            None => rows::load(self.id).map(Load::from),
        }
    }

    fn post(&self, message: &Encoded) -> Result<(), SendError> {
        match self.record.here {
            Some(alone) => (alone.deliver)(message.as_bytes().to_vec(), None),
            None => {
                hub::post(self.id, Head::USER, message.as_bytes(), None).map_err(|refused| refused.error)?;
            }
        }
        Ok(())
    }

    pub(super) fn alone(&self) -> Option<Alone> {
        self.record.here
    }

    /// Asks it to leave: it takes no new connections, finishes those it has within
    /// [`drain_timeout`](crate::Cluster::drain_timeout), and exits, or is killed; nobody takes its place. One that is not born
    /// yet is told at its birth. To ask again, or one that is dead, has no effect. Node: `worker.disconnect`.
    pub fn disconnect(&self) {
        self.order(Input::Disconnect { id: self.id });
    }

    /// Sends it a signal. With [`Signal::TERM`] it drains, and is killed if it has not ended in time. The end is
    /// not taken as voluntary, unless it was asked to leave before: the worker is respawned where the rules say so. One that
    /// is not born yet meets TERM and KILL at its birth, and no other; one that is dead is left alone. Node:
    /// `worker.process.kill`; its `worker.kill` disconnects first.
    pub fn kill(&self, signal: Signal) {
        self.order(Input::Kill { id: self.id, signal });
    }

    /// Whether its channel is open. Node: `worker.isConnected`.
    pub fn is_connected(&self) -> bool {
        self.record.connected.get()
    }

    /// Whether its process has ended. Node: `worker.isDead`.
    pub fn is_dead(&self) -> bool {
        self.state() == State::Dead
    }

    /// Whether its end, past or to come, was asked for: by [`disconnect`](Worker::disconnect), by
    /// [its own](crate::ThisWorker::disconnect), or because the cluster stops. True before its `disconnect` and `exit`, then. Node: `worker.exitedAfterDisconnect`.
    pub fn exited_after_disconnect(&self) -> bool {
        self.record.asked.get()
    }

    pub(super) fn key(&self) -> Id {
        self.id
    }

    /// What is asked of a worker that is gone is no error, and nothing.
    fn order(&self, input: Input) {
        if self.is_dead() {
            return;
        }
        match (self.record.here, &input) {
            (Some(_), Input::Kill { signal, .. }) => signal_here(*signal),
            (Some(_), _) => signal_here(Signal::TERM),
            (None, _) => order(input),
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("id", &self.id())
            .field("slot", &self.slot())
            .field("pid", &self.pid())
            .field("state", &self.state())
            .finish()
    }
}

/// Adds a worker. Returns at once; the process is there from the event `fork` on. In the primary, from callbacks
/// and from [`primary`](crate::Cluster::primary). In a cluster that stops it has no effect. Node: `cluster.fork`.
///
/// # Panics
/// Outside of a primary that runs. Unclustered it does not panic: it says that it does nothing, and the handle is of a
/// worker that is dead.
pub fn fork() -> Worker {
    add(Fork::new())
}

/// Adds a worker, as [`fork`] does, with an environment, a working directory or arguments of its own. Whoever takes its place
/// is given the same. Node: `cluster.fork(env)`.
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for a name or value that no process can be given, and the error of a
/// directory that can't be found. Nothing was done then. One that is gone when it is needed again is reported, and tried again
/// later.
///
/// # Panics
/// As [`fork`].
pub fn fork_with(fork: Fork) -> io::Result<Worker> {
    fork.check()?;
    Ok(add(fork))
}

fn add(fork: Fork) -> Worker {
    let worker = DESK.with_borrow_mut(|desk| {
        let desk = desk.as_mut()?;
        let worker = Worker::new(desk.ids.next());
        if desk.unclustered {
            crate::report::warn(format_args!(
                "cluster::fork() does nothing here: the program runs unclustered"
            ));
            worker.record.state.set(State::Dead);
            worker.record.connected.set(false);
            return Some(worker);
        }
        desk.workers.insert(worker.id, worker.clone());
        desk.forks.insert(worker.id, fork);
        desk.tray.push_back(Input::Fork { id: worker.id });
        Some(worker)
    });
    worker.expect("cluster::fork() works in the primary only, on its main thread: call it from a callback")
}

/// All workers that live, and those that [`fork`] was asked for, by id. Empty outside of the primary; unclustered, on the
/// main thread, this process. Node: `cluster.workers`.
pub fn workers() -> Vec<Worker> {
    DESK.with_borrow(|desk| {
        desk.as_ref().map(|desk| desk.workers.values().cloned().collect()).unwrap_or_default()
    })
}

/// The worker with this id, if it lives; in the primary. Node: `cluster.workers[id]`.
pub fn get(id: u64) -> Option<Worker> {
    DESK.with_borrow(|desk| desk.as_ref().and_then(|desk| desk.workers.get(&Id(id)).cloned()))
}

/// Sends a message to all workers whose channel is open, in the primary; yields those that could not be told, each with the
/// reason. Never waits: a worker that does not read fills its own channel, and the others get theirs. Unclustered it
/// goes to this process. Node: a loop over `cluster.workers`.
#[must_use = "these were not told"]
pub fn broadcast<M: Serialize>(message: M) -> Vec<(Worker, SendError)> {
    // Encoded once, before the desk is looked at: a `Serialize` may do anything.
    let message = Encoded::new(&message);
    let connected = workers().into_iter().filter(|worker| worker.is_connected() && worker.pid() != 0);
    let tell = |worker: Worker| {
        let told = message.as_ref().map_err(SendError::clone).and_then(|message| worker.post(message));
        told.err().map(|error| (worker, error))
    };
    connected.filter_map(tell).collect()
}

/// Asks all workers to leave; then the cluster ends. Without effect outside of the primary; unclustered, on the main
/// thread, a SIGTERM to this process. Node: `cluster.disconnect`.
pub fn disconnect() {
    order(Input::Stop { signal: None });
}

/// Replaces all workers by new ones, one after the other, as SIGHUP does: returns at once, and the outcome comes to
/// [`on_reload`](crate::Primary::on_reload). Asked for while one runs, one more follows, however often it was. Without
/// effect outside of the primary; unclustered it says so. Node has no word for it.
pub fn reload() {
    order(Input::Reload);
}

/// From now on there are to be so many workers, at least 1; in the primary. Returns at once. The lowest vacant slots are filled,
/// also where a former worker still drains, or the highest are given up: their workers leave as after
/// [`disconnect`](Worker::disconnect). One more or one less is what SIGTTIN and SIGTTOU do.
///
/// What is counted are the workers that are to be there: [`fork`] makes one more, whoever is asked to leave, or ends and is not
/// replaced, one less. [`Settings::workers`](crate::Settings::workers) goes on to tell how many the cluster started with. A reload replaces as many as
/// there are; those that are added while it runs are of the generation that it makes.
///
/// Where there are as many already, and where it is asked for none, it says so in the log: to end the cluster is
/// [`disconnect`]'s. Without effect outside of the primary and in a cluster that stops; unclustered it says so. Node has no
/// word for it.
pub fn scale(workers: usize) {
    if workers == 0 {
        crate::report::warn(format_args!(
            "cluster::scale(0) does nothing: one worker stays, and cluster::disconnect() ends the cluster"
        ));
        return;
    }
    order(Input::Scale { workers });
}

/// How the last reload ended, if there was one; in the primary.
pub fn last_reload() -> Option<Reload> {
    DESK.with_borrow(|desk| desk.as_ref()?.last_reload.clone())
}

/// Notes how a reload ended.
pub(super) fn reloaded(outcome: Reload) {
    status::reloaded(&outcome);
    DESK.with_borrow_mut(|desk| {
        if let Some(desk) = desk {
            desk.last_reload = Some(outcome);
        }
    });
}

/// Has the program that is now on disk take the place of this one, as SIGUSR2 does: the process, its listening sockets and
/// its workers stay, new workers of the new program come beside the old ones, and if it is not fit this one goes on. Returns at
/// once; the outcome comes to [`on_upgrade`](crate::Primary::on_upgrade). Without effect outside of the primary; unclustered
/// it says so. Node has no word for it.
pub fn upgrade() {
    order(Input::Upgrade);
}

/// How the last upgrade ended, if there was one; in the primary, and in the program that went on.
pub fn last_upgrade() -> Option<Upgrade> {
    DESK.with_borrow(|desk| desk.as_ref()?.last_upgrade.clone())
}

/// Notes how an upgrade ended.
pub(super) fn upgraded(outcome: Upgrade) {
    status::upgraded(&outcome);
    DESK.with_borrow_mut(|desk| {
        if let Some(desk) = desk {
            desk.last_upgrade = Some(outcome);
        }
    });
}

/// Puts something on the tray.
pub(super) fn order(input: Input) {
    DESK.with_borrow_mut(|desk| match desk {
        Some(desk) if desk.unclustered && matches!(input, Input::Reload) => crate::report::warn(
            format_args!("cluster::reload() does nothing here: the program runs unclustered"),
        ),
        Some(desk) if desk.unclustered && matches!(input, Input::Scale { .. }) => crate::report::warn(
            format_args!("cluster::scale() does nothing here: the program runs unclustered"),
        ),
        Some(desk) if desk.unclustered && matches!(input, Input::Upgrade) => crate::report::warn(
            format_args!("cluster::upgrade() does nothing here: the program runs unclustered"),
        ),
        Some(desk) if desk.unclustered => signal_here(Signal::TERM),
        Some(desk) => desk.tray.push_back(input),
        None => {}
    });
}

/// Unclustered, the one worker is the whole program: it is told by a signal, as from outside.
fn signal_here(signal: Signal) {
    let signal = rustix::process::Signal::from_named_raw(signal.as_raw()).ok_or(rustix::io::Errno::INVAL);
    let sent = signal.and_then(|signal| rustix::process::kill_process(rustix::process::getpid(), signal));
    if let Err(error) = sent {
        crate::report::error(format_args!("sending this process a signal: {error}"));
    }
}

/// Opens it, in the primary.
pub(crate) fn open(ids: Ids) {
    status::open();
    DESK.set(Some(Desk {
        ids,
        workers: BTreeMap::new(),
        tray: VecDeque::new(),
        last_reload: None,
        last_upgrade: None,
        forks: BTreeMap::new(),
        unclustered: false,
    }));
}

/// Opens it where the body runs in the process that was started: with that one worker.
pub(crate) fn open_unclustered(alone: Alone) {
    let worker = Worker::unclustered(alone);
    let workers = BTreeMap::from([(worker.id, worker)]);
    let ids = Ids::default();
    ids.next();
    let (tray, forks) = (VecDeque::new(), BTreeMap::new());
    let (last_reload, last_upgrade) = (None, None);
    DESK.set(Some(Desk { ids, workers, tray, last_reload, last_upgrade, forks, unclustered: true }));
}

/// In a new image: the workers that live, and what those are to be given that are yet to be born.
pub(super) fn adopt(fleet: &Fleet, born: impl IntoIterator<Item = (Id, u32)>, forks: BTreeMap<Id, Fork>) {
    for (id, _) in fleet.members() {
        worker(id);
    }
    born.into_iter().for_each(|(id, pid)| self::born(id, pid));
    DESK.with_borrow_mut(|desk| {
        if let Some(desk) = desk {
            desk.forks = forks;
        }
    });
    update(fleet);
}

/// For another image: what those are to be given that were not born yet.
pub(super) fn forks() -> Vec<(u64, Fork)> {
    DESK.with_borrow(|desk| {
        let forks = desk.iter().flat_map(|desk| &desk.forks);
        forks.map(|(id, fork)| (id.0, fork.clone())).collect()
    })
}

/// Closes it: the cluster has ended, or this is a child.
pub(crate) fn close() {
    DESK.set(None);
    status::close();
}

/// The oldest thing on the tray.
pub(crate) fn next_order() -> Option<Input> {
    DESK.with_borrow_mut(|desk| desk.as_mut()?.tray.pop_front())
}

/// What this one is to be given, if it was asked for here. Told once.
pub(super) fn fork_of(id: Id) -> Option<Fork> {
    DESK.with_borrow_mut(|desk| desk.as_mut()?.forks.remove(&id))
}

/// The handle of a worker.
pub(crate) fn worker(id: Id) -> Worker {
    DESK.with_borrow_mut(|desk| match desk {
        Some(desk) => desk.workers.entry(id).or_insert_with(|| Worker::new(id)).clone(),
        None => Worker::new(id),
    })
}

/// Notes the pid of a worker that was born.
pub(crate) fn born(id: Id, pid: u32) {
    worker(id).record.pid.set(pid);
}

/// Brings the handles up to date with what the fleet knows.
pub(crate) fn update(fleet: &Fleet) {
    status::update(fleet, Instant::now());
    DESK.with_borrow_mut(|desk| {
        for (id, member) in fleet.members() {
            let Some(worker) = desk.as_mut().and_then(|desk| desk.workers.get(&id)) else { continue };
            worker.record.slot.set(member.slot);
            worker.record.generation.set(member.generation);
            worker.record.state.set(member.state());
            worker.record.connected.set(member.connected);
            worker.record.asked.set(member.asked);
        }
    });
}

/// Takes a worker that has ended off the desk. Node removes it from `cluster.workers` before the event, too.
pub(crate) fn ended(id: Id, exit: &Exit) -> Worker {
    let worker = worker(id);
    status::ended(worker.slot(), exit);
    worker.record.state.set(State::Dead);
    worker.record.connected.set(false);
    worker.record.asked.set(exit.exited_after_disconnect());
    DESK.with_borrow_mut(|desk| desk.as_mut().and_then(|desk| desk.workers.remove(&id)));
    worker
}

/// Takes a worker off that will not be.
pub(crate) fn forget(id: Id) {
    DESK.with_borrow_mut(|desk| {
        let Some(desk) = desk else { return };
        desk.forks.remove(&id);
        if let Some(worker) = desk.workers.remove(&id) {
            worker.record.state.set(State::Dead);
            worker.record.connected.set(false);
        }
    });
    super::own::forget(id);
}
