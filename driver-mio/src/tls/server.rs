//! TLS in the server's role: certificates by name, tickets, ALPN.
//!
//! A certificate is loaded once and used by any number of listeners. Sessions are resumed by
//! tickets alone: their keys rotate and live in `ServerTls`, so a ticket is good for every worker
//! and across reloads, and no client can fill a store of ours. Early data is off, as it may be
//! replayed. Next: `choice.rs`.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::choice::Choice;
use super::{MinVersion, TlsConfigError, files, provider_without};

/// Tickets that a client gets with TLS 1.3.
const TICKETS: usize = 1;

/// One certificate with its key, as the configuration names it.
#[derive(Debug, Clone)]
pub(crate) struct CertificateSource {
    pub(crate) name: String,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// Server names that it answers; none: the DNS names in the certificate.
    pub(crate) subjects: Vec<String>,
    /// Whether it answers names that no certificate has.
    pub(crate) default: bool,
}

/// A certificate that was read and fits its key.
#[derive(Debug)]
pub(crate) struct Certificate {
    name: String,
    key: Arc<CertifiedKey>,
    subjects: Vec<String>,
    default: bool,
}

impl Certificate {
    /// Reads the two files and checks that they belong together.
    pub(crate) fn load(source: &CertificateSource) -> Result<Arc<Self>, TlsConfigError> {
        let chain = files::certificates(&source.cert)?;
        let key = files::private_key(&source.key)?;
        let own = dns_names(&source.cert, &chain)?;
        let subjects = if source.subjects.is_empty() { own } else { source.subjects.clone() };
        // It checks `keys_match` on the way.
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| {
            let what = format_args!(
                "certificate \"{}\": the key {} cannot serve it: {error}; both files must come \
                 from the same request",
                source.name,
                source.key.display()
            );
            TlsConfigError::in_file(&source.cert, what)
        })?;
        let (name, default) = (source.name.clone(), source.default);
        Ok(Arc::new(Self { name, key: Arc::new(key), subjects, default }))
    }

    /// The server names that it answers.
    #[cfg(test)]
    pub(crate) fn subjects(&self) -> &[String] {
        &self.subjects
    }
}

fn dns_names(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Vec<String>, TlsConfigError> {
    let Some(leaf) = chain.first() else { return Ok(Vec::new()) };
    let leaf = EndEntityCert::try_from(leaf).map_err(|error| {
        TlsConfigError::in_file(path, format_args!("the first certificate is broken: {error}"))
    })?;
    Ok(leaf.valid_dns_names().map(str::to_owned).collect())
}

/// What a listener asks of TLS, besides its certificates.
#[derive(Debug, Clone)]
pub(crate) struct ServerPolicy {
    pub(crate) min_version: MinVersion,
    /// Whether our order of suites counts, and not the client's.
    pub(crate) ignore_client_order: bool,
    pub(crate) disable_cipher_suites: Vec<String>,
    /// The protocol's ALPN id: a client that offers only others is refused, one that offers none
    /// is served. Empty: offers are not looked at.
    pub(crate) alpn: Vec<Vec<u8>>,
}

/// What all listeners share: the ticket keys. One per process.
pub(crate) struct ServerTls {
    ticketer: Arc<dyn ProducesTickets>,
}

impl ServerTls {
    pub(crate) fn new() -> Result<Self, TlsConfigError> {
        let ticketer = Ticketer::new().map_err(|error| {
            TlsConfigError::new(format!("no keys for session tickets: {error}"))
        })?;
        Ok(Self { ticketer })
    }

    /// The configuration of a listener with these certificates.
    pub(crate) fn config(
        &self,
        certificates: &[Arc<Certificate>],
        policy: &ServerPolicy,
    ) -> Result<Arc<ServerConfig>, TlsConfigError> {
        let provider = provider_without(&policy.disable_cipher_suites)?;
        let resolver = Arc::new(ByName(choice_of(certificates)?));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(policy.min_version.versions())
            .map_err(|error| {
                TlsConfigError::new(format!("min_version and disable_cipher_suites: {error}"))
            })?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols.clone_from(&policy.alpn);
        config.ignore_client_order = policy.ignore_client_order;
        config.ticketer = Arc::clone(&self.ticketer);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        // For `leg/record_layer.rs`, which is the only one to see them.
        config.enable_secret_extraction = true;
        // One for each handshake is enough for a client with any number of connections: a resumed
        // one gives back what it used, and each that found none adds one. Deriving and sealing a
        // second costs every login.
        config.send_tls13_tickets = TICKETS;
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

fn choice_of(
    certificates: &[Arc<Certificate>],
) -> Result<Choice<Arc<CertifiedKey>>, TlsConfigError> {
    let mut flagged = certificates.iter().filter(|certificate| certificate.default);
    let default = flagged.next();
    if let (Some(one), Some(other)) = (default, flagged.next()) {
        return Err(TlsConfigError::new(format!(
            "certificates \"{}\" and \"{}\" are both the default; keep one `default = true`",
            one.name, other.name
        )));
    }
    let Some(default) = default.or_else(|| certificates.first()) else {
        return Err(TlsConfigError::new(
            "a listener with TLS needs a certificate; add a table tls.certificate.NAME with cert \
             and key",
        ));
    };
    let mut choice = Choice::new(Arc::clone(&default.key));
    for certificate in certificates {
        for subject in &certificate.subjects {
            choice.add(subject, Arc::clone(&certificate.key));
        }
    }
    Ok(choice)
}

/// The certificate for a ClientHello: the best by name that the client can verify.
#[derive(Debug)]
struct ByName(Choice<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        note_sni(name);
        let schemes = hello.signature_schemes();
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let found = self.0.candidates(name).find(fits);
        // With none that fits, rustls tells the client that there is no scheme in common.
        found.or_else(|| self.0.candidates(name).next()).cloned()
    }
}

thread_local! {
    static SNI: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a step of a handshake, and says which server name the client asked for in it.
///
/// rustls' unbuffered server connection has no accessor for it; the resolver is the one place that
/// hears it, in resumed handshakes as well. As a handshake is stepped and the resolver called on
/// one thread, a thread-local carries it, and cannot mix up two connections.
pub(crate) fn noting_sni<T>(step: impl FnOnce() -> T) -> (T, Option<String>) {
    SNI.set(None);
    let outcome = step();
    (outcome, SNI.take())
}

fn note_sni(name: Option<&str>) {
    SNI.set(name.map(str::to_ascii_lowercase));
}

#[cfg(test)]
mod tests;
