//! A session that is told anything. Read next: `src/session/mod.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gatepost_fuzz::session(data));
