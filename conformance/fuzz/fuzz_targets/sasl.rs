//! SASL messages and base64. Read next: `src/sasl.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gatepost_fuzz::sasl(data));
