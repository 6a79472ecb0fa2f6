//! What fuzzers drive: one function for each target, which panics where something does not hold.
//!
//! The octets of an input are decoded plainly, so that corpora stay readable and an input that was
//! found can be written down by hand. The ordinary tests replay the corpora through these
//! functions (`conformance/tests/fuzz_corpora.rs`), which takes no fuzzer.
//!
//! Not here: what is said to sensible input. That is stated by byte scripts.
//! Invariants: nothing but the core is needed, so that an instrumented build is small; no time is
//! measured; an input decides everything.
//! Read next: `session/mod.rs`, then the others. How to run: `README.md`.
#![forbid(unsafe_code)]

mod config;
mod line;
mod proxy_protocol;
mod sasl;
mod session;

pub use self::config::config;
pub use self::line::line;
pub use self::proxy_protocol::proxy_protocol;
pub use self::sasl::sasl;
pub use self::session::session;

/// Ends a segment of an input, where inputs consist of several.
const SEPARATOR: u8 = 0xff;
