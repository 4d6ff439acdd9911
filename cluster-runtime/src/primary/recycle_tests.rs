//! Worn workers, without a process.
