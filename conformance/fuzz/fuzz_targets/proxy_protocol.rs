//! PROXY headers of both versions. Read next: `src/proxy_protocol.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gatepost_fuzz::proxy_protocol(data));
