//! placeholder

pub mod rig;
