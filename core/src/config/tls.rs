//! The `tls` table: the certificates that clients see, and what is common to all TLS with clients.
//!
//! Not here: the contents of certificate files, and TLS with backends, which is each destination's.
//! Read next: `listener`, which names certificates.

use alloc::{string::String, vec::Vec};

use super::choice::TlsVersion;

/// A certificate with its key, as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its name in the configuration.
    pub name: String,
    /// Path of the chain, PEM.
    pub cert: String,
    /// Path of the private key, PEM.
    pub key: String,
    /// Names it serves (`*.` stands for one label); empty: those that the certificate holds.
    pub subjects: Vec<String>,
    /// Whether it serves clients that name no host or an unknown one; true for one at most.
    pub default: bool,
}

/// What is common to TLS on every listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsProtocols {
    /// The lowest version where a listener has none of its own; already merged into listeners.
    pub min_version: TlsVersion,
    /// Whether our order of cipher suites decides, not the client's.
    pub ignore_client_order: bool,
    /// Cipher suites that are not used, by name.
    pub disable_cipher_suites: Vec<String>,
}
