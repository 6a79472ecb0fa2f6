//! The tests by subject, and the stage that they share.

mod accept;
mod balancer;
mod check;
mod crowd;
mod drain;
mod ends;
mod flow;
mod hosts;
mod idle;
mod log;
mod names;
mod program;
mod stage;
mod tls;
mod wire;
