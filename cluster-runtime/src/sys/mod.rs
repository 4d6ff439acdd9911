//! What the kernel does for us, and the only place with `unsafe`.
//!
//! Each file promises one thing to the rest: [`fork`] a child that may go on as if it had just been started,
//! [`exec`] one that has, [`scm`] descriptors carried over a socket without losing one, [`pidfd`] a process's end as an event,
//! [`signal`] signals as events in the primary and as a wake-up in a worker, [`socket`] and
//! [`socket_file`] listening sockets, [`half_open`] who is about to be in their backlogs, [`inherited`] descriptors that the program
//! was started with, [`activation`] the sockets among them, [`epoll`] one wait for all of it, [`process`] limits, environment
//! and the parent's death, [`credentials`] another user, [`notify_socket`] words to a service manager; [`memfd`], [`passed`] and
//! [`program`] what one image of this process leaves for the next, and [`way_back`] that it is left again.
//!
//! Nothing here knows of workers, slots or messages, and every descriptor that leaves is an `OwnedFd` with
//! CLOEXEC set from its first moment.

pub(crate) mod activation;
#[cfg(test)]
pub(crate) mod allocations;
pub(crate) mod credentials;
pub(crate) mod epoll;
pub(crate) mod exec;
pub(crate) mod fork;
pub(crate) mod half_open;
pub(crate) mod inherited;
pub(crate) mod memfd;
pub(crate) mod notify_socket;
pub(crate) mod passed;
pub(crate) mod pidfd;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod scm;
pub(crate) mod shared;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod socket_file;
pub(crate) mod way_back;
