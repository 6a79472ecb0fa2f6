//! What proves Gatepost, and what shows it: a small mail backend and the demo's parts.

pub mod backend;
pub mod demo;
