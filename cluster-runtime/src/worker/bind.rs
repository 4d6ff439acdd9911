//! Listening sockets, asked of the primary.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::link::Answer;
use super::{To, here, unclustered};
use crate::event::Address;
use crate::ipc::message::{BoundTo, Call, ListenerId, ToPrimary, ToWorker};

/// Which of the sockets of an address this worker has, by number: a second bind of one address is another socket.
static TAKEN: Mutex<BTreeSet<(Address, u32)>> = Mutex::new(BTreeSet::new());

/// One of them; free again when the last handle of its listener is gone, so that a server that ended can be started
/// anew on the same address.
#[derive(Debug)]
pub(super) struct Taken(Address, u32);

impl Taken {
    fn lowest(address: Address) -> Taken {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut nth = 0;
        while !taken.insert((address.clone(), nth)) {
            nth += 1;
        }
        Taken(address, nth)
    }

    fn question(&self, call: Call, backlog: u32) -> ToPrimary {
        ToPrimary::Bind { call, address: self.0.clone(), nth: self.1, backlog }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(&(self.0.clone(), self.1));
    }
}

/// A socket that this worker may serve.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(super) id: ListenerId,
    pub(super) address: Address,
    /// Unclustered, the socket itself.
    _taken: Option<Arc<Taken>>,
    pub(super) here: Option<Arc<unclustered::Bound>>,
}

impl Listener {
    /// One that is bound here, unclustered.
    pub(super) fn here(id: ListenerId, address: Address, bound: unclustered::Bound) -> Listener {
        Listener { id, address, _taken: None, here: Some(Arc::new(bound)) }
    }

    pub(crate) fn id(&self) -> ListenerId {
        self.id
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
}

impl From<BoundTo> for Listener {
    fn from(bound: BoundTo) -> Listener {
        Listener { id: bound.listener, address: bound.address, _taken: None, here: None }
    }
}

/// Asks the primary to listen on an address, or to share what another worker asked for. Blocks for one round
/// trip. Unclustered: binds here.
#[cfg(feature = "actix")]
pub(crate) fn bind(address: Address, backlog: u32) -> io::Result<Listener> {
    let address = absolute(address)?;
    let To::Primary(link) = &here().to else { return unclustered::bind(address, backlog) };
    let taken = Taken::lowest(address);
    let answer = link.call(|call| taken.question(call, backlog), None)?;
    bound(answer, Some(taken))
}

/// As [`bind`], without blocking. Dropped before the answer is here, it binds nothing.
pub(crate) async fn ask_to_bind(address: Address, backlog: u32) -> io::Result<Listener> {
    let address = absolute(address)?;
    let To::Primary(link) = &here().to else { return unclustered::bind(address, backlog) };
    let taken = Taken::lowest(address);
    let answer = link.call_async(|call| taken.question(call, backlog), None).await?;
    bound(answer, Some(taken))
}

/// Gives the primary a listening socket of this process. Unclustered: serves it here.
pub(crate) fn adopt(socket: OwnedFd) -> io::Result<Listener> {
    match &here().to {
        To::Primary(link) => bound(link.call(|call| ToPrimary::Adopt { call }, Some(socket))?, None),
        To::Unclustered(_) => unclustered::adopt(socket),
    }
}

/// The primary may have been started in another directory than we are in now.
fn absolute(address: Address) -> io::Result<Address> {
    Ok(match address {
        Address::Unix(path) => Address::Unix(std::path::absolute::<&Path>(&path)?),
        tcp => tcp,
    })
}

fn bound(answer: Answer, taken: Option<Taken>) -> io::Result<Listener> {
    match answer.take()? {
        (ToWorker::Bound { result, .. }, _) => {
            Ok(Listener { _taken: taken.map(Arc::new), ..Listener::from(result?) })
        }
        _ => Err(io::Error::other("the primary answered another question")),
    }
}
