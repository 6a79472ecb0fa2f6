//! Framing, and the pure functions beside it. Read next: `src/line.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gatepost_fuzz::line(data));
