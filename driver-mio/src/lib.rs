//! The Gatepost server on mio: the driver that serves the sans-IO core over real sockets.
//!
//! [`Server::start`] binds everything a configuration names, and serves until it is drained or
//! stopped. One worker thread a core does all the work on connections, edge-triggered; what is slow
//! (names to resolve, route stores) runs on one control thread. No protocol is known here: see
//! `gatepost_core`.
//!
//! Read `server/mod.rs` for how it begins and ends, `worker/mod.rs` for the event loop,
//! `worker/dialogue.rs` for the contract carried out, `relay.rs` for the data plane, and
//! `leg/mod.rs` for a socket with its TLS.
#![forbid(unsafe_code)]

mod control;
mod explain;
mod leg;
mod listen;
mod log_line;
mod map_file;
mod pipe;
mod probes;
mod relay;
mod rig;
mod server;
mod store;
mod timer;
mod tls;
mod worker;

pub use explain::{NoListener, Question, explain};
pub use log_line::json_line;
pub use map_file::{MapChangeFault, change_map};
pub use rig::{Lookup, Resolve, Rig};
pub use server::site::{Site, SiteFault};
pub use server::{Held, Remote, Server, StartFault};
pub use store::{Store, WriteFault};
