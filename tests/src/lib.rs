//! The harness: it starts real clusters, blocks on what they say, and audits what they leave behind.
//!
//! Two sides live here. In the test's process: [`Cluster`] (one running fixture), [`Story`] (all that it said),
//! [`client`] and [`load`] (who asks, and how each answer is judged). In the fixture's processes: [`announce`]
//! (prints each event of a worker's life) [`serve`] (the routes a test drives a worker with) and [`echo`] (the same without HTTP).
//!
//! A test never waits for time to pass. It waits for a line of the story, for a process to die, for a byte; each
//! wait has a deadline, and a wait in vain fails with the whole story.

pub mod announce;
mod audit;
pub mod board;
pub mod channel;
pub mod claims;
pub mod client;
pub mod control;
pub mod echo;
pub mod fails;
pub mod faults;
pub mod judged;
pub mod load;
pub mod messages;
mod plan;
pub mod process;
pub mod questions;
pub mod rows;
mod running;
pub mod serve;
pub mod service;
pub mod sockets;
mod story;
pub mod upgrades;
mod wait;

pub use plan::{Plan, by_exec, can_inject, can_run, forks, is_root};
pub use running::Cluster;
pub use rustix::process::Signal;
pub use story::{Event, Exited, Forked, Story};
pub use wait::{PATIENCE, eventually};
