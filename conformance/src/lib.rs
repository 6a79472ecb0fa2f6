//! What proves Gatepost, and what shows it: byte scripts and their runners, a small mail backend,
//! and the demo's parts.
#![forbid(unsafe_code)]

pub mod backend;
pub mod demo;
pub mod script;
