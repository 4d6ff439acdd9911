//! Listening sockets, asked of the primary.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::answer::Answer;
use super::{To, here, unclustered};
use crate::event::Address;
use crate::ipc::message::{BoundTo, Call, Key, Kind, ListenerId, Site, ToPrimary, ToWorker};
use crate::sys::socket::{BACKLOG, Manner};
use crate::sys::{activation, inherited};

/// How a socket is bound, where it is not as usual.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) backlog: u32,
    pub(crate) ipv6_only: Option<bool>,
    /// Of a socket file.
    pub(crate) mode: Option<u32>,
    /// By this worker, for itself.
    pub(crate) exclusive: bool,
    /// Likewise, beside the others.
    pub(crate) reuse_port: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { backlog: BACKLOG, ipv6_only: None, mode: None, exclusive: false, reuse_port: false }
    }
}

impl Options {
    pub(super) fn manner(&self) -> Manner {
        Manner { ipv6_only: self.ipv6_only, reuse_port: self.reuse_port }
    }

    pub(super) fn is_shared(&self) -> bool {
        !self.exclusive && !self.reuse_port
    }
}

/// What this worker has of the primary.
static TAKEN: Mutex<BTreeSet<Key>> = Mutex::new(BTreeSet::new());

/// One of them; free again when the last handle of its listener is gone, so that a server that ended can be started
/// anew on the same address.
#[derive(Debug)]
struct Taken(Key);

impl Taken {
    /// A second bind of port 0 is another port. Of anything else it is an error, as in any program.
    fn new(site: Site, options: &Options) -> io::Result<Taken> {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let again = match &site {
            Site::Address(Address::Tcp(address) | Address::Udp(address)) => address.port() == 0,
            _ => false,
        };
        if !again && taken.iter().any(|key| key.site == site) {
            return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
        }
        let mut key = Key { site, nth: 0, ipv6_only: options.ipv6_only, mode: options.mode };
        while !taken.insert(key.clone()) {
            key.nth += 1;
        }
        Ok(Taken(key))
    }

    fn question(&self, call: Call, backlog: u32) -> ToPrimary {
        ToPrimary::Bind { call, key: self.0.clone(), backlog }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// What the primary holds for this worker; given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    id: ListenerId,
    // After the word to the primary, in the order of drops: whoever binds it again is heard after that.
    _taken: Option<Taken>,
}

impl Drop for Held {
    fn drop(&mut self) {
        here().tell(&ToPrimary::Unbind { listener: self.id });
    }
}

/// A socket that this worker may serve.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(super) address: Address,
    pub(super) of: Of,
}

/// Who has the socket.
#[derive(Clone, Debug)]
pub(super) enum Of {
    Primary(Arc<Held>),
    /// We: unclustered, or for this worker alone.
    Here(Arc<unclustered::Bound>),
}

impl Listener {
    pub(crate) fn id(&self) -> ListenerId {
        match &self.of {
            Of::Primary(held) => held.id,
            Of::Here(bound) => bound.id,
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
}

/// Asks the primary to listen on an address, or to share what another worker asked for. Blocks for one round
/// trip. Unclustered: binds here.
#[cfg(feature = "actix")]
pub(crate) fn bind(address: Address, backlog: u32) -> io::Result<Listener> {
    let options = Options { backlog, ..Options::default() };
    let address = absolute(address)?;
    let To::Primary(link) = &here().to else { return unclustered::bind(address, &options) };
    let taken = Taken::new(Site::Address(address), &options)?;
    let answer = link.call(|call| taken.question(call, backlog), None)?;
    Ok(bound(answer, Some(taken))?.0)
}

/// As [`bind`], without blocking; binds here also what is to be for this worker alone. Dropped before the answer is here,
/// it binds nothing.
pub(crate) async fn ask_to_bind(address: Address, options: &Options) -> io::Result<Listener> {
    let address = absolute(address)?;
    let To::Primary(_) = &here().to else { return unclustered::bind(address, options) };
    if !options.is_shared() {
        return unclustered::bind(address, options);
    }
    Ok(ask(Site::Address(address), options).await?.0)
}

/// As [`ask_to_bind`], for datagrams: they don't pass through the primary, so that the socket itself comes.
pub(crate) async fn ask_for_datagrams(address: Address, options: &Options) -> io::Result<Datagrams> {
    let To::Primary(link) = &here().to else { return unclustered::bind_udp(&address, options) };
    if !options.is_shared() {
        let datagrams = unclustered::bind_udp(&address, options)?;
        // It has not told the primary of anything yet.
        link.tell(&ToPrimary::Ready, None);
        here().is_up();
        return Ok(datagrams);
    }
    datagrams(ask(Site::Address(address), options).await?)
}

/// Asks for a descriptor that the primary was started with, by its number there.
pub(crate) async fn ask_for_inherited(number: i32) -> io::Result<Listener> {
    let To::Primary(_) = &here().to else { return unclustered::adopt(inherited::duplicate(number)?) };
    Ok(ask(Site::Inherited(number, Kind::Stream), &Options::default()).await?.0)
}

/// Likewise, for datagrams.
pub(crate) async fn ask_for_inherited_datagrams(number: i32) -> io::Result<Datagrams> {
    let To::Primary(_) = &here().to else { return unclustered::adopt_udp(inherited::duplicate(number)?) };
    datagrams(ask(Site::Inherited(number, Kind::Datagram), &Options::default()).await?)
}

/// Asks for a socket that a service manager has passed to the primary, by its name.
pub(crate) async fn ask_for_activated(name: &str) -> io::Result<Listener> {
    let To::Primary(_) = &here().to else { return unclustered::adopt(activation::called(name, true)?) };
    Ok(ask(Site::Activated(name.to_owned(), Kind::Stream), &Options::default()).await?.0)
}

/// As [`ask_for_activated`]; blocks for one round trip.
#[cfg(feature = "actix")]
pub(crate) fn activated(name: &str) -> io::Result<Listener> {
    let To::Primary(link) = &here().to else { return unclustered::adopt(activation::called(name, true)?) };
    let taken = Taken::new(Site::Activated(name.to_owned(), Kind::Stream), &Options::default())?;
    let answer = link.call(|call| taken.question(call, BACKLOG), None)?;
    Ok(bound(answer, Some(taken))?.0)
}

/// As [`ask_for_activated`], for datagrams.
pub(crate) async fn ask_for_activated_datagrams(name: &str) -> io::Result<Datagrams> {
    let To::Primary(_) = &here().to else { return unclustered::adopt_udp(activation::called(name, false)?) };
    datagrams(ask(Site::Activated(name.to_owned(), Kind::Datagram), &Options::default()).await?)
}

/// A UDP socket; its listener, where the primary has it too.
pub(crate) type Datagrams = (OwnedFd, Option<Listener>);

fn datagrams((listener, socket): (Listener, Option<OwnedFd>)) -> io::Result<Datagrams> {
    let socket = socket.ok_or_else(|| io::Error::other("the socket did not arrive"))?;
    here().is_up();
    Ok((socket, Some(listener)))
}

async fn ask(site: Site, options: &Options) -> io::Result<(Listener, Option<OwnedFd>)> {
    let To::Primary(link) = &here().to else {
        return Err(io::Error::other("there is no primary to be asked"));
    };
    let taken = Taken::new(site, options)?;
    let (answer, ()) = link.call_async(|call| taken.question(call, options.backlog), None, |_| ()).await?;
    bound(answer, Some(taken))
}

/// Gives the primary a listening socket of this process. Unclustered: serves it here.
pub(crate) fn adopt(socket: OwnedFd) -> io::Result<Listener> {
    match &here().to {
        To::Primary(link) => Ok(bound(link.call(|call| ToPrimary::Adopt { call }, Some(socket))?, None)?.0),
        To::Unclustered(_) => unclustered::adopt(socket),
    }
}

/// The primary may have been started in another directory than we are in now.
fn absolute(address: Address) -> io::Result<Address> {
    Ok(match address {
        Address::Unix(path) if !path.as_os_str().as_bytes().starts_with(b"\0") => {
            Address::Unix(std::path::absolute::<&Path>(&path)?)
        }
        other => other,
    })
}

fn bound(answer: Answer, taken: Option<Taken>) -> io::Result<(Listener, Option<OwnedFd>)> {
    match answer.take()? {
        (ToWorker::Bound { result, .. }, socket) => {
            let BoundTo { listener: id, address } = result?;
            let of = Of::Primary(Arc::new(Held { id, _taken: taken }));
            Ok((Listener { address, of }, socket))
        }
        _ => Err(io::Error::other("the primary answered another question")),
    }
}
