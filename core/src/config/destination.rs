//! The `destination` tables: backends, and how to reach them.
//!
//! Not here: resolution, health, and the choice among destinations.
//! Invariants: a leg that bears credentials is encrypted unless `allow_plaintext_auth`; with TLS
//! there is a name to verify or a pin; a client certificate has its key.
//! Read next: `routing` (who goes where), `check` (a destination must not be ourselves).

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;

use super::choice::{Forwarding, Protocol, TlsMode};

/// A backend, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Its name in the configuration and in map files.
    pub name: String,
    /// A host name or an address without brackets.
    pub host: String,
    /// The name its certificate must hold, where that is not `host`.
    pub tls_server_name: Option<String>,
    /// How it is told who the client is, where an endpoint does not say otherwise (endpoints have
    /// it merged).
    pub forwarding: Forwarding,
    /// Whether any certificate will do.
    pub tls_allow_invalid_certs: bool,
    /// SHA-256 of acceptable certificates; if there is one, only these count.
    pub tls_pinned_cert_sha256: Vec<[u8; 32]>,
    /// Path of the chain that we present, PEM; with `tls_client_key` or not at all.
    pub tls_client_cert: Option<String>,
    /// Path of its private key, PEM.
    pub tls_client_key: Option<String>,
    /// Path of the authorities to trust in place of the system's, PEM.
    pub tls_ca_file: Option<String>,
    /// Our own addresses to connect from, in turn; empty: the system's choice.
    pub source_ips: Vec<IpAddr>,
    /// Whether clients hear our words in place of the backend's refusal.
    pub hide_auth_errors: bool,
    /// Whether credentials may travel without TLS.
    pub allow_plaintext_auth: bool,
    /// Proxies that a login may pass through, this one counted.
    pub proxy_ttl: u8,
    /// What it speaks, each protocol once.
    pub endpoints: Vec<(Protocol, Endpoint)>,
}

/// How a destination is reached by one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// TCP port, from 1.
    pub port: u16,
    /// How TLS begins.
    pub tls: TlsMode,
    /// How the backend is told who the client is.
    pub forwarding: Forwarding,
}

impl Destination {
    /// How to reach it by a protocol; none if it does not speak it.
    pub fn endpoint(&self, protocol: Protocol) -> Option<&Endpoint> {
        let mut endpoints = self.endpoints.iter();
        endpoints.find(|(spoken, _)| *spoken == protocol).map(|(_, endpoint)| endpoint)
    }
}
