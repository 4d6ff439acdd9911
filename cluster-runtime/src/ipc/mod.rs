//! How primary and worker talk: the only place where the two meet.

pub(crate) mod birth;
pub(crate) mod channel;
pub(crate) mod codec;
pub(crate) mod frame;
pub(crate) mod message;
