//! Self-signed certificates for one script: one that the server presents and trusts, and one that
//! it does not trust.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// A certificate with its key, in memory and as files.
pub(super) struct Certificate {
    chain: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pub(super) chain_path: PathBuf,
    pub(super) key_path: PathBuf,
}

impl Certificate {
    /// A certificate for these names, written to a folder.
    pub(super) fn new(folder: &Path, name: &str, subjects: Vec<String>) -> io::Result<Self> {
        let made = rcgen::generate_simple_self_signed(subjects).map_err(io::Error::other)?;
        let chain_path = folder.join(format!("{name}.crt"));
        let key_path = folder.join(format!("{name}.key"));
        std::fs::write(&chain_path, made.cert.pem())?;
        std::fs::write(&key_path, made.signing_key.serialize_pem())?;
        let chain = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der());
        let key = key.map_err(io::Error::other)?;
        Ok(Self { chain, key, chain_path, key_path })
    }

    /// For a backend that presents it.
    pub(super) fn server(&self) -> io::Result<Arc<ServerConfig>> {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(vec![self.chain.clone()], self.key.clone_key())
            });
        config.map(Arc::new).map_err(io::Error::other)
    }

    /// For a client that trusts it.
    pub(super) fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        alpn: Option<&[u8]>,
    ) -> io::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.chain.clone()).map_err(io::Error::other)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .map_err(io::Error::other)?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
        Ok(Arc::new(config))
    }
}

/// The name that a client asks for; an address asks for none.
pub(super) fn server_name(name: Option<&str>) -> io::Result<ServerName<'static>> {
    let name = name.unwrap_or(UNNAMED).to_owned();
    ServerName::try_from(name).map_err(io::Error::other)
}

/// Subject of every certificate, for clients that send no name.
pub(super) const UNNAMED: &str = "127.0.0.1";
