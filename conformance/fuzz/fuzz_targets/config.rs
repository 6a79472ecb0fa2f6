//! Configurations: any text, and damage to one that is complete. Read next: `src/config.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gatepost_fuzz::config(data));
