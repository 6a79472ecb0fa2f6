//! What proves Gatepost, and what shows it: byte scripts and their runners, the simulation, a
//! small mail backend, the demo's parts, the bench, and the rig that starts real servers.
#![forbid(unsafe_code)]

pub mod backend;
pub mod bench;
pub mod demo;
pub mod rig;
pub mod script;
pub mod simulation;
