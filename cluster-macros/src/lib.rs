//! `#[cluster::main]`.
