//! The rig: real mail servers and the `gatepost` program as child processes, for the tests that
//! bring them together.
//!
//! Everything lives in temporary folders and on free loopback ports, and ends when its value is
//! dropped: by process id, never by name. Dovecot, HAProxy and nginx run without privileges even
//! when the tests are run by root, Postfix drops them itself and needs root for it; the proxy runs
//! as whoever runs the tests. The rig starts, waits and reads logs; it judges nothing, and it knows
//! no test. Start with [`Dovecot::start`], [`Postfix::start`], [`Haproxy::start`],
//! [`Nginx::behind`], [`StoreServer::start`] and [`Proxy::start`]; [`imap`], [`pop3`],
//! [`managesieve`] and [`smtp`] are the clients for what no packaged mail client can be told to do.

use std::{fmt, path::PathBuf};

pub mod certificate;
pub mod connection;
pub mod dovecot;
pub mod haproxy;
pub mod imap;
pub mod managesieve;
pub mod nginx;
mod owner;
pub mod pop3;
pub mod postfix;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod smtp;
pub mod stores;

pub use certificate::Authority;
pub use dovecot::{Account, Dovecot, Onward, Place, Services};
pub use haproxy::{Haproxy, Header, Lane};
pub use nginx::Nginx;
pub use postfix::{Ports, Postfix};
pub use process::{Daemon, free_port, raise_open_files};
pub use programs::{Program, require};
pub use proxy::Proxy;
pub use stores::StoreServer;

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

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 9051.
    Imap,
    /// RFC 1939.
    Pop3,
    /// RFC 5804.
    ManageSieve,
    /// RFC 6409.
    Submission,
    /// RFC 5321.
    Smtp,
    /// RFC 2033.
    Lmtp,
}

impl fmt::Display for Protocol {
    /// Writes the word that the configuration file uses.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::ManageSieve => "managesieve",
            Self::Submission => "submission",
            Self::Smtp => "smtp",
            Self::Lmtp => "lmtp",
        })
    }
}

/// Where a mail client connects: a port of `localhost`, and the authority that vouches for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What is spoken there.
    pub protocol: Protocol,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// How the client protects the connection.
    pub tls: Tls,
    /// A PEM file with the only authority that the client should trust.
    pub authority: PathBuf,
}
