//! The rig: real mail servers and the `gatepost` program as child processes, for the tests that
//! bring them together.
//!
//! Everything lives in temporary folders and on free loopback ports, and ends when its value is
//! dropped: by process id, never by name. Mail servers run without privileges even when the tests
//! are run by root; the proxy runs as whoever runs the tests. The rig starts, waits and reads logs;
//! it judges nothing, and it knows no test. Start with [`Dovecot::start`] and [`Proxy::start`];
//! [`imap::Client`] is the client for what no packaged mail client can be told to do.

use std::{fmt, path::PathBuf};

pub mod certificate;
pub mod dovecot;
pub mod imap;
pub mod process;
pub mod programs;
pub mod proxy;

pub use certificate::Authority;
pub use dovecot::{Account, Dovecot};
pub use process::{Daemon, free_port, raise_open_files};
pub use programs::{Program, require};
pub use proxy::Proxy;

/// How a connection is protected, on either side of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Plain,
    /// By an upgrade within the protocol.
    Starttls,
    /// From the first octet.
    Implicit,
}

impl Tls {
    /// Every mode, for tests that run a matrix.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Starttls, Self::Implicit];
}

impl fmt::Display for Tls {
    /// Writes the word that the configuration file uses.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Plain => "plain",
            Self::Starttls => "starttls",
            Self::Implicit => "implicit",
        })
    }
}

/// Where a mail client connects: a port of `localhost`, and the authority that vouches for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// How the client protects the connection.
    pub tls: Tls,
    /// A PEM file with the only authority that the client should trust.
    pub authority: PathBuf,
}
