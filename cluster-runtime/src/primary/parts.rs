//! All that the loop owns, as one image of the primary leaves it for the next.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::accept::saved::SavedDoor;
use super::hub::saved::SavedLine;
use super::lane::saved::SavedLanes;
use super::listen::saved::SavedListeners;
use super::output::saved::SavedOutputs;
use super::rows::saved::SavedRows;
use super::slot::Id;
use super::{Loop, ask, desk, hub, rows};
use crate::fork::Fork;
use crate::ipc::message::ListenerId;
use crate::sys::passed::Fd;
use crate::sys::{activation, inherited, process};

/// Beside the fleet, which is only known of, what there is.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Parts {
    /// What the kernel calls this process: after an exec by descriptor it would be a number.
    pub(crate) name: String,
    /// Which file is run at an upgrade.
    pub(crate) program: OsString,
    /// The signals that were blocked when the program was started.
    pub(crate) blocked: Vec<i32>,
    /// What it was started with: each descriptor, with what it leads to.
    pub(crate) inherited: Vec<(RawFd, u64, u64)>,
    /// Of that, the sockets that a service manager has passed, by their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) activated: Vec<(String, Fd)>,
    pub(crate) children: Vec<SavedChild>,
    /// Processes that are to end, and to be waited for.
    pub(crate) leavers: Vec<Leaver>,
    pub(crate) lines: Vec<SavedLine>,
    pub(crate) lanes: SavedLanes,
    pub(crate) listeners: SavedListeners,
    pub(crate) door: SavedDoor,
    pub(crate) outputs: SavedOutputs,
    /// What each worker listens to, as far as it was told.
    pub(crate) announced: Vec<(u64, ListenerId)>,
    pub(crate) somebody_bound: bool,
    /// What was said of one worker alone, by slot.
    pub(crate) forks: Vec<(usize, Fork)>,
    /// What was said of one that is not born yet.
    pub(crate) wanted: Vec<(u64, Fork)>,
    /// The number of the last question: late answers are to match no other.
    pub(crate) asked: u64,
    /// What workers count; since version 3.
    #[serde(default, skip_serializing_if = "SavedRows::is_empty")]
    pub(crate) rows: SavedRows,
}

/// A worker's process.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SavedChild {
    pub(crate) worker: u64,
    pub(crate) pid: u32,
    pub(crate) pidfd: Fd,
}

/// A process that is to end.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Leaver {
    pub(crate) pid: u32,
    pub(crate) pidfd: Fd,
}

impl Parts {
    /// Every descriptor that is left open for the next image, but for the state's own and that of the image to go back to.
    pub(crate) fn fds(&self) -> impl Iterator<Item = &Fd> {
        let children = self
            .children
            .iter()
            .map(|child| &child.pidfd)
            .chain(self.leavers.iter().map(|leaver| &leaver.pidfd));
        let lines = self.lines.iter().flat_map(SavedLine::fds);
        let way = self.lanes.fds().chain(self.listeners.fds()).chain(self.door.fds());
        let activated = self.activated.iter().map(|(_, socket)| socket);
        activated.chain(children).chain(lines).chain(way).chain(self.outputs.fds()).chain(self.rows.fds())
    }
}

impl Loop {
    /// As it is now. Nobody is being born, and nothing was asked that waits for anybody.
    pub(super) fn save_parts(&self, now: Instant) -> std::io::Result<Parts> {
        let child = |(id, child): (&Id, _)| SavedChild {
            worker: id.0,
            pid: desk::worker(*id).pid(),
            pidfd: Fd::of(child),
        };
        Ok(Parts {
            name: process::name()?,
            program: self.upgrading.path().into(),
            blocked: self.signals.before_by_number(),
            inherited: inherited::noted(),
            activated: activation::save(),
            children: self.children.iter().map(child).collect(),
            // Of this image, and of the one before where this one has not come to ending them.
            leavers: self
                .nurseries
                .processes()
                .chain(&self.upgrading.abandoned)
                .chain(&self.leavers)
                .map(|child| Leaver { pid: child.pid(), pidfd: Fd::of(child) })
                .collect(),
            lines: hub::saved::save(),
            lanes: self.lanes.save(),
            listeners: self.listeners.save(now),
            door: self.door.save(),
            outputs: self.outputs.save(),
            announced: self.announced.iter().map(|(id, listener)| (id.0, *listener)).collect(),
            somebody_bound: self.somebody_bound,
            forks: self.forks.iter().map(|(slot, fork)| (*slot, fork.clone())).collect(),
            wanted: desk::forks(),
            asked: ask::last(),
            rows: rows::saved::save(),
        })
    }
}
