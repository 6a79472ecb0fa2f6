//! Certificates and configurations for tests, made on the spot in a temporary folder.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};
use tempfile::TempDir;

use super::{
    Certificate, CertificateSource, ClientPolicy, MinVersion, ServerPolicy, ServerTls, Trust,
    client_config, files,
};

/// A folder of certificates that goes away with the test.
pub(crate) struct Samples {
    folder: TempDir,
}

impl Samples {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A self-signed certificate for these names, the first of which names the files.
    pub(crate) fn certificate(&self, names: &[&str]) -> CertificateSource {
        self.write(names, |_| ())
    }

    /// The same, but it was good in the seventies only.
    pub(crate) fn expired(&self, names: &[&str]) -> CertificateSource {
        self.write(names, |params| {
            params.not_before = date_time_ymd(1975, 1, 1);
            params.not_after = date_time_ymd(1976, 1, 1);
        })
    }

    fn write(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateSource {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        // Issuers are told apart by their names.
        params.distinguished_name.push(DnType::CommonName, names.join(" "));
        change(&mut params);
        let pair = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&pair).unwrap();
        let name = names.first().cloned().unwrap_or_default();
        let cert = self.folder.path().join(format!("{name}.pem"));
        let key = self.folder.path().join(format!("{name}.key"));
        fs::write(&cert, certificate.pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        CertificateSource { name, cert, key, subjects: Vec::new(), default: false }
    }

    /// A file with any content.
    pub(crate) fn file(&self, name: &str, content: &str) -> std::path::PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

pub(crate) fn server_policy() -> ServerPolicy {
    ServerPolicy {
        min_version: MinVersion::Tls12,
        ignore_client_order: false,
        disable_cipher_suites: Vec::new(),
        alpn: vec![b"imap".to_vec()],
    }
}

pub(crate) fn server_with(sources: &[&CertificateSource]) -> Arc<ServerConfig> {
    let loaded: Vec<_> = sources.iter().map(|source| Certificate::load(source).unwrap()).collect();
    ServerTls::new().unwrap().config(&loaded, &server_policy()).unwrap()
}

pub(crate) fn client_with(trust: Trust) -> Arc<ClientConfig> {
    let (identity, disable_cipher_suites) = (None, Vec::new());
    let alpn = vec![b"imap".to_vec()];
    client_config(&ClientPolicy { trust, identity, disable_cipher_suites, alpn }).unwrap()
}

/// The certificate that a source serves.
pub(crate) fn leaf(source: &CertificateSource) -> CertificateDer<'static> {
    files::certificates(&source.cert).unwrap().remove(0)
}

/// Whether this system trusts any authority.
pub(crate) fn has_platform_roots() -> bool {
    let (identity, disable_cipher_suites, alpn) = (None, Vec::new(), Vec::new());
    let trust = Trust::PlatformRoots;
    client_config(&ClientPolicy { trust, identity, disable_cipher_suites, alpn }).is_ok()
}
