//! The mio server over loopback: what it holds, what it survives, and what it says.
//!
//! Clients and backends are written out here, over std sockets and rustls, so that each test can
//! do to its socket what no mail program does: stop reading, half-close, reset, stay silent. Mail
//! is no subject of these tests: a backend takes every login and then does what the test says.
//! Where the matter is the process (signals, descriptors, its log), the `gatepost` program runs as
//! a child; without it those tests say that they were skipped.
//!
//! Nothing here is judged by how long it took. Read next: `server/stage.rs`.

#![allow(clippy::unwrap_used)]

#[path = "server/mod.rs"]
mod server;
