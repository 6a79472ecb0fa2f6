//! What a configuration needs beside its text: certificates, authorities, the map.
//!
//! A [`Site`] is loaded whole or not at all, before anything is bound, and `gatepost check` loads
//! it as `gatepost run` does. It is immutable and shared by all workers. Certificates are
//! `tls/server.rs`'s, trust in backends `tls/client.rs`'s, the way to a destination `plans.rs`'s.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use gatepost_core::Routing;
use gatepost_core::config::{
    self, Config, Destination, Listener, Normalize, Protocol, TlsMode, TlsVersion,
};
use gatepost_core::route::plan::{self, Plan};
use gatepost_core::sasl::Login;
use gatepost_core::secret::Secret;
use zeroize::Zeroizing;

use super::own;
use crate::server::plans;
use crate::store::{Store, Told};
use crate::tls::{
    Certificate, CertificateSource, ClientConfig, ClientPolicy, MinVersion, ServerConfig,
    ServerPolicy, ServerTls, TlsConfigError, Trust, client_config, server_name,
};

/// A configuration with everything that it refers to.
pub struct Site {
    pub(crate) listeners: Vec<ServedListener>,
    /// How to do TLS with a destination.
    backends: HashMap<(String, Protocol), Arc<ClientConfig>>,
    /// Where accounts live, in each form of names that a listener uses.
    plans: Vec<(Normalize, Plan)>,
    /// Who is asked for accounts in place of a map.
    store: Option<Store>,
    /// In the map.
    accounts: usize,
    destinations: Vec<Arc<Destination>>,
    default: Arc<Destination>,
    /// The accounts of probes, by destination.
    probe_logins: HashMap<String, Arc<Login>>,
    backend_timeout: Duration,
    pub(crate) server: config::Server,
}

/// A listener and how it does TLS.
pub(crate) struct ServedListener {
    pub(crate) listener: Arc<Listener>,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// TLS with balancers, under their PROXY headers.
    pub(crate) balancer_tls: Option<Arc<ServerConfig>>,
}

/// Something a configuration refers to is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteFault {
    /// The key of the configuration that leads to it.
    pub place: String,
    /// What is wrong, and how to mend it.
    pub what: String,
}

impl fmt::Display for SiteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl Site {
    /// Reads every file that the configuration names. Reports every fault, not the first.
    pub fn load(config: &Config) -> Result<Self, Vec<SiteFault>> {
        let mut faults = Vec::new();
        let certificates = load_certificates(config, &mut faults);
        let listeners = load_listeners(config, &certificates, &mut faults);
        let backends = load_backends(config, &mut faults);
        own::check(config, &mut faults);
        let (plans, accounts) = plans::load(config).unwrap_or_else(|fault| {
            faults.push(fault);
            Default::default()
        });
        let store = Store::open(config).unwrap_or_else(|(place, what)| {
            faults.push(SiteFault { place: place.to_owned(), what });
            None
        });
        let probe_logins = load_probe_logins(config, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let backend_timeout = config.listeners.iter().map(|listener| listener.backend_timeout);
        Ok(Self {
            listeners,
            backends,
            plans,
            accounts,
            store,
            destinations: config.destinations.clone(),
            default: Arc::clone(&config.routing.default_destination),
            probe_logins,
            backend_timeout: backend_timeout.max().unwrap_or_default(),
            server: config.server.clone(),
        })
    }

    pub(crate) fn destinations(&self) -> &[Arc<Destination>] {
        &self.destinations
    }

    /// Where accounts go that no table knows.
    pub(crate) const fn default_destination(&self) -> &Arc<Destination> {
        &self.default
    }

    /// Whom probes of a destination log in.
    pub(crate) fn probe_login(&self, destination: &str) -> Option<Arc<Login>> {
        self.probe_logins.get(destination).cloned()
    }

    /// What probes call themselves, and how long each may take.
    pub(crate) fn probe_terms(&self) -> (&str, Duration) {
        let hostname = self.listeners.first().map_or("", |it| it.listener.hostname.as_str());
        (hostname, self.backend_timeout)
    }

    /// Accounts in the map.
    pub fn accounts(&self) -> usize {
        self.accounts
    }

    /// Where accounts live whose names are in this form.
    pub(crate) fn plan(&self, form: Normalize) -> Option<&Plan> {
        self.plans.iter().find(|(known, _)| *known == form).map(|(_, plan)| plan)
    }

    /// The route store, where one is configured.
    pub fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Goes on with what a store said, for a name in this form.
    pub(crate) fn follow(&self, form: Normalize, found: plan::Pending, told: Told) -> Routing {
        match told {
            Told::Finding(finding) => match self.plan(form) {
                Some(plan) => plan.conclude(found, finding, &mut |_| {}),
                // Every listener's form has its plan.
                None => Routing::Unavailable,
            },
            Told::Routing(routing) => found.adopt(routing),
        }
    }

    /// How to do TLS with a destination; none where it is not configured for any.
    pub(crate) fn backend_tls(&self, name: &str, protocol: Protocol) -> Option<Arc<ClientConfig>> {
        self.backends.get(&(name.to_owned(), protocol)).cloned()
    }

    /// The addresses to bind, each with the position of its listener.
    pub(crate) fn binds(&self) -> impl Iterator<Item = (usize, SocketAddr)> {
        self.listeners
            .iter()
            .enumerate()
            .filter(|(_, served)| served.listener.max_connections > 0)
            .flat_map(|(index, served)| served.listener.bind.iter().map(move |at| (index, *at)))
    }
}

fn load_certificates(
    config: &Config,
    faults: &mut Vec<SiteFault>,
) -> HashMap<String, Arc<Certificate>> {
    let mut loaded = HashMap::new();
    for certificate in &config.certificates {
        let source = CertificateSource {
            name: certificate.name.clone(),
            cert: PathBuf::from(&certificate.cert),
            key: PathBuf::from(&certificate.key),
            subjects: certificate.subjects.clone(),
            default: certificate.default,
        };
        match Certificate::load(&source) {
            Ok(certificate) => {
                loaded.insert(source.name, certificate);
            }
            Err(error) => faults.push(SiteFault {
                place: format!("tls.certificate.{}", source.name),
                what: error.to_string(),
            }),
        }
    }
    loaded
}

fn load_listeners(
    config: &Config,
    certificates: &HashMap<String, Arc<Certificate>>,
    faults: &mut Vec<SiteFault>,
) -> Vec<ServedListener> {
    let tickets = match ServerTls::new() {
        Ok(tickets) => tickets,
        Err(error) => {
            faults.push(SiteFault { place: "tls".to_owned(), what: error.to_string() });
            return Vec::new();
        }
    };
    let mut with = |names: &[String], listener: &Listener, alpn: Vec<Vec<u8>>| {
        let chosen: Vec<_> =
            names.iter().filter_map(|name| certificates.get(name).cloned()).collect();
        // Those that could not be loaded have been reported.
        if chosen.len() != names.len() {
            return None;
        }
        let config = tickets.config(&chosen, &policy(config, listener, alpn));
        let fault = |error: TlsConfigError| SiteFault {
            place: format!("listener.{}", listener.name),
            what: error.to_string(),
        };
        config.map_err(|error| faults.push(fault(error))).ok()
    };
    let mut served = Vec::new();
    for listener in &config.listeners {
        let tls = match listener.tls {
            TlsMode::Implicit | TlsMode::StartTls => {
                with(&listener.certificates, listener, alpn(listener.protocol))
            }
            TlsMode::Plain => None,
        };
        let named = listener.balancers.as_ref().and_then(|balancers| balancers.tls.as_ref());
        // A balancer speaks PROXY in it, not the protocol.
        let balancer_tls = named.and_then(|name| with(slice::from_ref(name), listener, Vec::new()));
        served.push(ServedListener { listener: Arc::clone(listener), tls, balancer_tls });
    }
    served
}

fn policy(config: &Config, listener: &Listener, alpn: Vec<Vec<u8>>) -> ServerPolicy {
    ServerPolicy {
        min_version: match listener.min_version {
            TlsVersion::V1_2 => MinVersion::Tls12,
            TlsVersion::V1_3 => MinVersion::Tls13,
        },
        ignore_client_order: config.tls.ignore_client_order,
        disable_cipher_suites: config.tls.disable_cipher_suites.clone(),
        alpn,
    }
}

/// The protocol's registered ALPN ids (RFC 7301 and IANA's list); submission has none.
fn alpn(protocol: Protocol) -> Vec<Vec<u8>> {
    match protocol {
        Protocol::Imap => vec![b"imap".to_vec()],
        Protocol::Pop3 => vec![b"pop3".to_vec()],
        Protocol::ManageSieve => vec![b"managesieve".to_vec()],
        Protocol::Submission | Protocol::Smtp | Protocol::Lmtp => Vec::new(),
    }
}

fn load_backends(
    config: &Config,
    faults: &mut Vec<SiteFault>,
) -> HashMap<(String, Protocol), Arc<ClientConfig>> {
    let mut loaded = HashMap::new();
    for destination in &config.destinations {
        let endpoints = destination.endpoints.iter();
        for (protocol, _) in endpoints.filter(|(_, endpoint)| endpoint.tls != TlsMode::Plain) {
            match load_backend(config, destination, *protocol) {
                Ok(tls) => {
                    loaded.insert((destination.name.clone(), *protocol), tls);
                }
                Err(what) => {
                    let place = format!("destination.{}", destination.name);
                    let fault = SiteFault { place, what };
                    // One wrong file is one fault, however many protocols need it.
                    if !faults.contains(&fault) {
                        faults.push(fault);
                    }
                }
            }
        }
    }
    loaded
}

fn load_backend(
    config: &Config,
    destination: &Destination,
    protocol: Protocol,
) -> Result<Arc<ClientConfig>, String> {
    let trust = if !destination.tls_pinned_cert_sha256.is_empty() {
        Trust::Pins(destination.tls_pinned_cert_sha256.clone())
    } else if destination.tls_allow_invalid_certs {
        Trust::Anything
    } else if let Some(file) = &destination.tls_ca_file {
        Trust::CaFile(PathBuf::from(file))
    } else {
        Trust::PlatformRoots
    };
    let identity = destination.tls_client_cert.as_ref().zip(destination.tls_client_key.as_ref());
    let policy = ClientPolicy {
        trust,
        identity: identity.map(|(cert, key)| (PathBuf::from(cert), PathBuf::from(key))),
        disable_cipher_suites: config.tls.disable_cipher_suites.clone(),
        alpn: alpn(protocol),
    };
    for host in &destination.hosts {
        server_name(destination.tls_name(host)).map_err(|error| error.to_string())?;
    }
    client_config(&policy).map_err(|error| error.to_string())
}

fn load_probe_logins(config: &Config, faults: &mut Vec<SiteFault>) -> HashMap<String, Arc<Login>> {
    let mut loaded = HashMap::new();
    for destination in &config.destinations {
        let account = destination.probing.as_ref().and_then(|probing| probing.account.as_ref());
        let Some(account) = account else { continue };
        let path = &account.password_file;
        let mut fault = |what: String| {
            let place = format!("destination.{}.probe_password_file", destination.name);
            faults.push(SiteFault { place, what: format!("{path}: {what}") });
        };
        match std::fs::read(path).map(Zeroizing::new) {
            Err(error) => fault(format!("cannot be read: {error}")),
            Ok(text) => {
                let line = text.split(|octet| matches!(octet, b'\r' | b'\n')).next();
                let password = line.unwrap_or_default();
                if password.is_empty() {
                    fault("its first line holds no password".to_owned());
                    continue;
                }
                let user = account.user.clone().into_bytes();
                let login = Login::with_password(user, Secret::from(password));
                loaded.insert(destination.name.clone(), Arc::new(login));
            }
        }
    }
    loaded
}
