//! Whatever comes over a channel.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cluster::fuzz(bytes));
