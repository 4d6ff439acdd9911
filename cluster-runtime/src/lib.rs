//! cluster.

#[cfg(feature = "actix")]
pub mod actix;
mod address;
#[cfg(feature = "actix")]
mod race;
#[cfg(feature = "actix")]
mod worker;

pub use address::Address;
