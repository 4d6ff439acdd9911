//! How many, without a process.
