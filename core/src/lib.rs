//! Gatepost's core: the protocols and the policy of a mail-access proxy as pure values.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod config;
pub mod sasl;
