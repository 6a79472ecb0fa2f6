//! TLS at both ends of the bench: the generator's and the sink's.
//!
//! Both offer TLS 1.3 with one suite and X25519, so that no system is measured with another
//! suite than the one beside it.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, cipher_suite, default_provider, kx_group};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::bench::case::Suite;

fn provider(suite: Suite) -> Arc<CryptoProvider> {
    let mut provider = default_provider();
    provider.cipher_suites = vec![match suite {
        Suite::Aes128 => cipher_suite::TLS13_AES_128_GCM_SHA256,
        Suite::Aes256 => cipher_suite::TLS13_AES_256_GCM_SHA384,
    }];
    provider.kx_groups = vec![kx_group::X25519];
    Arc::new(provider)
}

/// A client that trusts the authority in `folder`, and resumes sessions or never does.
pub(super) fn client(folder: &Path, suite: Suite, resumes: bool) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(folder.join("authority.pem")).map_err(io::Error::other)?
    {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

/// A server with the certificate in `folder`, and with tickets.
pub(super) fn server(folder: &Path, suite: Suite) -> io::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(folder.join("certificate.pem"))
        .map_err(io::Error::other)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(&fs::read(folder.join("key.pem"))?)
        .map_err(io::Error::other)?;
    let mut config = ServerConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new().map_err(io::Error::other)?;
    Ok(Arc::new(config))
}
