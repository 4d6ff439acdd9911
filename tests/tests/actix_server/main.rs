//! `cluster::actix::HttpServer` without a cluster: the surface of actix-web's, on real sockets.
//!
//! One program, since linking actix is what takes the time. Every wait is for an event and has a deadline.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod connect;
mod drain;
mod failures;
mod h2c;
mod handle;
mod limits;
mod listeners;
mod running;
mod surface;
mod system;
mod tls;
mod websocket;
