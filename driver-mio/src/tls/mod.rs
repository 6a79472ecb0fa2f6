//! Certificates, and the rustls configurations of listeners and destinations.
//!
//! Not the connections: `leg/tls_layer.rs` drives those. Everything here happens at start and at
//! reload, so errors are for the operator: which file or key, what is wrong, how to mend it. The
//! results are immutable and shared by all workers. Next: `choice.rs` (which certificate for which
//! name), `server.rs`, `client.rs`.

mod choice;
mod client;
mod files;
mod https;
#[cfg(test)]
pub(crate) mod samples;
mod server;
mod sessions;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
// What the rest of the driver hands on to the legs, and never looks into.
pub(crate) use rustls::pki_types::ServerName;
pub(crate) use rustls::{ClientConfig, ServerConfig};

#[cfg(test)]
pub(crate) use self::client::pin_of;
pub(crate) use self::client::{ClientPolicy, PinMismatch, Trust, client_config, server_name};
pub(crate) use self::https::{encrypt, for_https};
pub(crate) use self::server::{
    Certificate, CertificateSource, ServerPolicy, ServerTls, noting_sni,
};

/// A fault in the TLS part of the configuration, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsConfigError(String);

impl TlsConfigError {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    fn in_file(path: &Path, what: impl fmt::Display) -> Self {
        Self(format!("{}: {what}", path.display()))
    }
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsConfigError {}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MinVersion {
    Tls12,
    Tls13,
}

impl MinVersion {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static TLS13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
        match self {
            // Both that rustls has.
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => &TLS13,
        }
    }
}

/// aws-lc-rs without the suites that the configuration names, by rustls' names or IANA's.
fn provider_without(suites: &[String]) -> Result<Arc<CryptoProvider>, TlsConfigError> {
    let mut provider = aws_lc_rs::default_provider();
    for name in suites {
        let before = provider.cipher_suites.len();
        let wanted = name.strip_prefix("TLS13_").or_else(|| name.strip_prefix("TLS_"));
        provider.cipher_suites.retain(|suite| {
            let known = suite.suite().as_str().unwrap_or_default();
            let stem = known.strip_prefix("TLS13_").or_else(|| known.strip_prefix("TLS_"));
            wanted.is_none() || wanted != stem
        });
        // The same suite may be named twice.
        if provider.cipher_suites.len() == before && !is_known_suite(name) {
            return Err(TlsConfigError::new(format!(
                "disable_cipher_suites: \"{name}\" is not a suite; the known ones are {}",
                known_suites().join(", ")
            )));
        }
    }
    if provider.cipher_suites.is_empty() {
        return Err(TlsConfigError::new("disable_cipher_suites: no suite is left; remove some"));
    }
    Ok(Arc::new(provider))
}

fn known_suites() -> Vec<&'static str> {
    let suites = aws_lc_rs::default_provider().cipher_suites;
    suites.iter().filter_map(|suite| suite.suite().as_str()).collect()
}

fn is_known_suite(name: &str) -> bool {
    let stem = name.strip_prefix("TLS_").map(|stem| format!("TLS13_{stem}"));
    known_suites().iter().any(|known| *known == name || stem.as_deref() == Some(known))
}
