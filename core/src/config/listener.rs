//! The `listener` tables: addresses that clients connect to, with everything a session needs.
//!
//! Not here: sockets, and what is said on them.
//! Invariant: a `Listener` is resolved. Its own keys, the `capabilities` of its protocol, and the
//! `server`, `tls`, `routing` and `mapping` tables are merged into it.
//! Read next: `capabilities` (what it advertises), `check` (what two listeners must not share).

use alloc::{string::String, vec::Vec};
use core::{net::SocketAddr, time::Duration};

use super::{
    address::Cidr,
    choice::{Normalize, Protocol, TlsMode, TlsVersion},
};
use crate::sasl::Mechanism;

/// Addresses that clients connect to, and how they are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in the configuration.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it listens; at least one address, and port 0 stands for any free one.
    pub bind: Vec<SocketAddr>,
    /// How TLS begins.
    pub tls: TlsMode,
    /// The name by which the proxy calls itself.
    pub hostname: String,
    /// Connections at a time; 0 closes the listener.
    pub max_connections: u32,
    /// Connections at a time from one address; none: as many as `max_connections`.
    pub max_connections_per_ip: Option<u32>,
    /// Who may connect; empty: everybody.
    pub allow: Vec<Cidr>,
    /// The client's time before login, summed over the dialogue.
    pub preauth_timeout: Duration,
    /// Failed logins on one connection until it ends.
    pub max_auth_attempts: u32,
    /// Sent once to every client that logs in, as an IMAP alert.
    pub alert: Option<String>,
    /// How often a waiting client hears that work goes on; none: never.
    pub working_interval: Option<Duration>,
    /// Whether passwords and tokens are taken without TLS.
    pub cleartext_without_tls: bool,
    /// Mechanisms offered and accepted; at least one.
    pub mechanisms: Vec<Mechanism>,
    /// IMAP capabilities, without `AUTH=`, `STARTTLS` and `LOGINDISABLED`.
    pub advertise: Vec<String>,
    /// The text of the greeting.
    pub banner: String,
    /// Names of the certificates it may present; not empty unless `tls` is plain.
    pub certificates: Vec<String>,
    /// The lowest TLS version it takes.
    pub min_version: TlsVersion,
    /// What is done to a routing identifier before it is looked up.
    pub normalize: Normalize,
    /// At the first of these a user name's part for routing ends.
    pub master_user_separators: Vec<char>,
    /// How long a store may take to answer.
    pub lookup_timeout: Duration,
    /// How long one attempt at a backend may take, from connecting to its verdict.
    pub backend_timeout: Duration,
    /// Attempts after the first.
    pub connect_retries: u32,
    /// How long a logged-in session may be silent.
    pub bridge_idle: Duration,
}
