//! An independent judge of a server: it asks all the time, in the ways in which clients ask, and puts each request
//! in exactly one class. It has no code of the runtime, and believes only the bytes that it saw.
//!
//! ```no_run
//! use cluster_judge::{Class, Plan};
//!
//! let plan = Plan::on(["127.0.0.1:8000".parse().unwrap()]);
//! let trial = plan.begin().unwrap();
//! assert!(trial.each_has(Class::Ok, 100), "{}", trial.verdict());
//! // Here something happens to the server.
//! let verdict = trial.stop();
//! assert!(verdict.is_clean(), "{verdict}");
//! ```
//!
//! The server has to have the four routes that the README of this package lists. What they answer follows from what
//! was asked ([`content`]), so that a wrong, torn or exchanged answer is seen.

mod client;
pub mod content;
mod http;
mod ledger;
mod plan;
mod record;
mod trial;
mod verdict;
mod websocket;
mod wire;

pub use plan::{Address, Crew, Kind, Plan};
pub use record::{Class, End, Record};
pub use trial::Trial;
pub use verdict::{Row, Verdict};
