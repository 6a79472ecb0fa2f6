//! TLS in the client's role, toward backends: whom to trust, who we are.
//!
//! One configuration per destination and protocol, shared by all workers: it owns the store of
//! sessions, so logins at a backend resume. Invariants: a pin or `Trust::Anything` replaces the
//! judgement of the certificate, never the proof that the backend owns its key. An id of ALPN is
//! offered; a backend that knows no ALPN ignores it (RFC 7301 §3.1), and for one that refuses it
//! the list can be left empty.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::sessions::Sessions;
use super::{MinVersion, TlsConfigError, files, provider_without};

/// Octets of a SHA-256.
const PIN_OCTETS: usize = 32;

/// By what a backend's certificate is judged.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// The authorities that the operating system trusts.
    PlatformRoots,
    /// The authorities in a PEM file, and no others.
    CaFile(PathBuf),
    /// The SHA-256 of the certificate itself; several, so that it can be renewed.
    Pins(Vec<[u8; PIN_OCTETS]>),
    /// Not at all.
    Anything,
}

/// What a destination asks of TLS.
#[derive(Debug, Clone)]
pub(crate) struct ClientPolicy {
    pub(crate) trust: Trust,
    /// Our own certificate and its key, for backends that ask.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) disable_cipher_suites: Vec<String>,
    /// The protocol's id, or none.
    pub(crate) alpn: Vec<Vec<u8>>,
}

/// The configuration for a destination. Keep it: it remembers the sessions.
pub(crate) fn client_config(policy: &ClientPolicy) -> Result<Arc<ClientConfig>, TlsConfigError> {
    let provider = cheapest_first(provider_without(&policy.disable_cipher_suites)?);
    let verifier = verifier(&policy.trust, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(MinVersion::Tls12.versions())
        .map_err(|error| TlsConfigError::new(format!("disable_cipher_suites: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &policy.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => builder
            .with_client_auth_cert(files::certificates(cert)?, files::private_key(key)?)
            .map_err(|error| {
                let what = format_args!(
                    "the key {} cannot serve this client certificate: {error}",
                    key.display()
                );
                TlsConfigError::in_file(cert, what)
            })?,
    };
    config.alpn_protocols.clone_from(&policy.alpn);
    config.resumption = Resumption::store(Arc::new(Sessions::default()));
    config.enable_early_data = false;
    // For `leg/record_layer.rs`, which is the only one to see them.
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// Puts the suites with AES-128 in front: servers that follow a client's order take them then.
///
/// Both ends spend most of a resumed handshake on hashes and key agreement, and SHA-256 has
/// instructions of its own where SHA-384 is computed step by step: on AMD's processors the
/// latter was a sixth of a login with TLS on both legs.
fn cheapest_first(provider: Arc<CryptoProvider>) -> Arc<CryptoProvider> {
    let mut provider = Arc::unwrap_or_clone(provider);
    provider.cipher_suites.sort_by_key(|suite| {
        !suite.suite().as_str().is_some_and(|name| name.contains("_AES_128_GCM_"))
    });
    Arc::new(provider)
}

/// The name that a backend's certificate must have, and that is sent as SNI: `tls_server_name`, or
/// the host. An IP address is a name too, but is not sent.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, TlsConfigError> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        let remedy = "is neither a host name nor an IP address; set tls_server_name";
        TlsConfigError::new(format!("\"{name}\" {remedy}"))
    })
}

/// The SHA-256 of a certificate, as pins have it.
pub(crate) fn pin_of(certificate: &CertificateDer<'_>) -> [u8; PIN_OCTETS] {
    let mut pin = [0; PIN_OCTETS];
    pin.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
    pin
}

fn verifier(
    trust: &Trust,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsConfigError> {
    let provider = Arc::clone(provider);
    let pins = match trust {
        Trust::PlatformRoots => return Ok(chain_verifier(platform_roots()?, provider)?),
        Trust::CaFile(path) => return Ok(chain_verifier(roots_of_file(path)?, provider)?),
        Trust::Pins(pins) if pins.is_empty() => {
            return Err(TlsConfigError::new("tls_pinned_cert_sha256 is empty; give a pin"));
        }
        Trust::Pins(pins) => Some(pins.clone()),
        Trust::Anything => None,
    };
    Ok(Arc::new(WithoutChain { pins, provider }))
}

fn chain_verifier(
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsConfigError> {
    WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|error| TlsConfigError::new(format!("the certificate authorities: {error}")))
}

/// The operating system's authorities, loaded once for all destinations.
fn platform_roots() -> Result<Arc<RootCertStore>, TlsConfigError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // Some entries of a platform's store may be odd; the others are good.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() {
        return Err(TlsConfigError::new(
            "the operating system has no certificate authorities; install the package \
             ca-certificates, or set tls_ca_file or tls_pinned_cert_sha256",
        ));
    }
    Ok(Arc::clone(roots))
}

fn roots_of_file(path: &Path) -> Result<Arc<RootCertStore>, TlsConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in files::certificates(path)? {
        roots.add(certificate).map_err(|error| {
            TlsConfigError::in_file(path, format_args!("not a certificate authority: {error}"))
        })?;
    }
    Ok(Arc::new(roots))
}

/// The certificate is none of the pinned ones.
#[derive(Debug)]
pub(crate) struct PinMismatch;

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate is none of the pinned ones")
    }
}

impl std::error::Error for PinMismatch {}

/// Judges the certificate itself, by pins or not at all, and not who signed it.
#[derive(Debug)]
struct WithoutChain {
    /// None: every certificate will do.
    pins: Option<Vec<[u8; PIN_OCTETS]>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for WithoutChain {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let accepted = match &self.pins {
            Some(pins) => pins.contains(&pin_of(end_entity)),
            None => true,
        };
        if accepted {
            Ok(ServerCertVerified::assertion())
        } else {
            let fault = CertificateError::Other(OtherError(Arc::new(PinMismatch)));
            Err(Error::InvalidCertificate(fault))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
