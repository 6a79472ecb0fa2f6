//! How Gatepost is proved: byte scripts and their runners.
#![forbid(unsafe_code)]

pub mod script;
