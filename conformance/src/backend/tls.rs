//! A self-signed certificate, made when asked for and kept nowhere.
//!
//! Backends, scripted peers and the demo's proxy all need one; the names are the caller's. It comes
//! as PEM for those who read files and as rustls configurations for those who do not. It is its own
//! trust anchor: [`SelfSigned::client_config`] verifies for real and trusts exactly this
//! certificate. Nothing here belongs in front of real mail.

use std::io;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A certificate for the names that the caller gave, and its private key.
pub struct SelfSigned {
    certificate: CertificateDer<'static>,
    private_key: PrivatePkcs8KeyDer<'static>,
    certificate_pem: String,
    private_key_pem: String,
}

impl SelfSigned {
    /// Makes a new key and a certificate for `names`: host names, or addresses as text.
    pub fn new(names: &[&str]) -> io::Result<Self> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        Ok(Self {
            certificate: made.cert.der().clone(),
            private_key: PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()),
            certificate_pem: made.cert.pem(),
            private_key_pem: made.signing_key.serialize_pem(),
        })
    }

    /// The certificate, as a PEM file holds it.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key (PKCS #8), as a PEM file holds it.
    pub fn private_key_pem(&self) -> &str {
        &self.private_key_pem
    }

    /// The certificate in DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// For a server that presents this certificate; TLS 1.2 and 1.3, no client certificates.
    pub fn server_config(&self) -> io::Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::Pkcs8(self.private_key.clone_key());
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .map_err(io::Error::other)?;
        Ok(Arc::new(config))
    }

    /// For a client that trusts this certificate and no other.
    pub fn client_config(&self) -> io::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(io::Error::other)?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

/// Named here, so that no process-wide default provider is needed.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
