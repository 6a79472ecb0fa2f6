//! Certificates and rustls configurations. API first; the bodies follow.
#![allow(dead_code, unused_variables, missing_docs, clippy::unimplemented)]

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

/// What was wrong, in which file, and what to do: for the operator.
#[derive(Debug)]
pub(crate) struct TlsConfigError(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MinVersion {
    Tls12,
    Tls13,
}

/// One `tls.certificate.NAME` table.
#[derive(Debug, Clone)]
pub(crate) struct CertificateSource {
    pub(crate) name: String,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// Empty: the certificate's own DNS names.
    pub(crate) subjects: Vec<String>,
    pub(crate) default: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct ServerPolicy {
    pub(crate) min_version: MinVersion,
    pub(crate) ignore_client_order: bool,
    pub(crate) disable_cipher_suites: Vec<String>,
    /// imap, pop3, managesieve; empty: ALPN is not looked at.
    pub(crate) alpn: Vec<Vec<u8>>,
}

/// A loaded key pair; load once, use on several listeners.
#[derive(Debug)]
pub(crate) struct Certificate {}
impl Certificate {
    pub(crate) fn load(source: &CertificateSource) -> Result<Arc<Self>, TlsConfigError> {
        unimplemented!()
    }
}

/// Once a process: ticket keys live here, so resumption survives reloads and crosses workers.
pub(crate) struct ServerTls {}
impl ServerTls {
    pub(crate) fn new() -> Result<Self, TlsConfigError> {
        unimplemented!()
    }
    pub(crate) fn config(
        &self,
        certificates: &[Arc<Certificate>],
        policy: &ServerPolicy,
    ) -> Result<Arc<ServerConfig>, TlsConfigError> {
        unimplemented!()
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Trust {
    PlatformRoots,
    CaFile(PathBuf),
    /// SHA-256 of the leaf certificate; replaces the chain.
    Pins(Vec<[u8; 32]>),
    /// tls_allow_invalid_certs
    Anything,
}

#[derive(Debug, Clone)]
pub(crate) struct ClientPolicy {
    pub(crate) trust: Trust,
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) disable_cipher_suites: Vec<String>,
    pub(crate) alpn: Vec<Vec<u8>>,
}

/// One per destination and protocol; share it: it owns the store of sessions to resume.
pub(crate) fn client_config(policy: &ClientPolicy) -> Result<Arc<ClientConfig>, TlsConfigError> {
    unimplemented!()
}

/// `tls_server_name` or the host.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, TlsConfigError> {
    unimplemented!()
}

/// 64 hex digits, colons allowed.
pub(crate) fn parse_pin(text: &str) -> Result<[u8; 32], TlsConfigError> {
    unimplemented!()
}
