//! The configuration: from a file's text to values that are resolved and checked.
//!
//! Not here: files. Paths stay text; whoever starts the program reads certificates and map files,
//! and checks what needs them or a name server.
//! Invariants: `parse` reports every fault of a text, not the first. What it returns holds every
//! rule that can be judged from the text alone, and every `Listener` and `Destination` is complete:
//! defaults and overrides are merged, nobody needs to look anywhere else.
//! Read next: `keys` (every key there is), `reader` (how values are taken), `listener`,
//! `destination`, `check` (rules that span tables).

mod address;
mod balancer;
mod capabilities;
mod check;
mod choice;
mod destination;
mod duration;
mod fault;
mod hosts;
mod keys;
mod listener;
mod own;
mod probes;
mod reader;
mod routing;
mod server;
mod spelling;
mod statement;
mod step;
mod store;
mod tls;

#[cfg(test)]
mod tests;

use alloc::{format, sync::Arc, vec::Vec};

use toml::de::DeTable;

pub use self::{
    address::{Cidr, NotCidr},
    balancer::Balancers,
    choice::{
        Forwarding, LogFormat, LogLevel, Normalize, Policy, Protocol, Standing, TlsMode, TlsVersion,
    },
    destination::{Destination, Endpoint},
    fault::{Fault, Warning},
    hosts::{Host, NotHost},
    listener::Listener,
    own::accepts,
    probes::{ProbeAccount, Probing, ReferralHost},
    routing::{Mapping, MappingSource, OnError, Routing},
    server::Server,
    statement::Dialect,
    store::{Encode, HttpServer, HttpStore, RedisStore, SqlStore},
    tls::{Certificate, TlsProtocols},
};

pub(crate) use self::{
    address::{is_host, is_host_name},
    capabilities::{is_advertisable, minimal},
};

use self::{fault::Report, listener::Inherited, reader::Section};

/// A configuration that can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What concerns the program as a whole.
    pub server: Server,
    /// The certificates for clients, in the file's order.
    pub certificates: Vec<Certificate>,
    /// What is common to TLS on every listener.
    pub tls: TlsProtocols,
    /// In the file's order; at least one.
    pub listeners: Vec<Arc<Listener>>,
    /// In the file's order; at least one.
    pub destinations: Vec<Arc<Destination>>,
    /// Where accounts go that no table knows.
    pub routing: Routing,
    /// Where accounts go that a table knows.
    pub mapping: Mapping,
}

impl Config {
    /// The destination of a name.
    pub fn destination(&self, name: &str) -> Option<&Arc<Destination>> {
        self.destinations.iter().find(|destination| destination.name == name)
    }
}

/// Reads a configuration.
///
/// # Errors
///
/// Every fault of the text, by line. If it is not TOML, those are the faults of its grammar alone,
/// since what it would say otherwise is guesswork.
pub fn parse(text: &str) -> Result<(Config, Vec<Warning>), Vec<Fault>> {
    let report = Report::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or_default();
        // Only a key is quoted: anything else could be part of a secret.
        let key = text.get(span.clone()).filter(|_| error.message() == "duplicate key");
        let key = key.map(|key| format!(" {key}")).unwrap_or_default();
        report.fault(span.start, "", format!("not TOML: {}{key}", error.message()), "");
    }
    if !errors.is_empty() {
        return Err(report.verdict().err().unwrap_or_default());
    }
    let config = read(&Section::root(table.get_ref(), &report));
    let warnings = report.verdict()?;
    debug_assert!(config.is_some(), "a configuration is lacking only where a fault is recorded");
    config.map(|config| (config, warnings)).ok_or_else(Vec::new)
}

fn read(root: &Section<'_>) -> Option<Config> {
    keys::check(root);
    let (server, limits) = server::read(&root.section("server"));
    let certificates = tls::read_certificates(&root.section("tls"));
    let tls = tls::read_protocols(&root.section("tls").section("protocols"));
    let destinations: Vec<_> = root
        .named("destination")
        .into_iter()
        .map(|(name, section)| Arc::new(destination::read(name, &section, limits.proxy_ttl)))
        .collect();
    let inherited = Inherited {
        hostname: server.hostname_or_default(),
        limits,
        certificates: certificates.iter().map(|certificate| certificate.name.clone()).collect(),
        min_version: tls.min_version,
        capabilities: capabilities::read(&root.section("capabilities")),
        lookup: routing::read_lookup(root),
        pass_through: routing::read_pass_through(root, &destinations),
    };
    let listeners: Vec<_> = root
        .named("listener")
        .into_iter()
        .filter_map(|(name, section)| listener::read(name, &section, &inherited).map(Arc::new))
        .collect();
    if root.section("listener").entries().is_empty() {
        root.fault(&["listener"], "there is none", "add a table such as [listener.imaps]");
    }
    if root.section("destination").entries().is_empty() {
        root.fault(&["destination"], "there is none", "add a table such as [destination.main]");
    }
    let lookup_timeout = inherited.lookup.timeout;
    let table = root.section("mapping");
    let mapping = routing::read_mapping(&table, lookup_timeout, &destinations, &listeners);
    let routing = routing::read_routing(root, &destinations);
    check::distinct_binds(root, &listeners);
    check::no_loops(root, &listeners, &destinations);
    check::carried_somewhere(root, &listeners);
    if let Some(routing) = &routing {
        check::default_speaks(root, &listeners, routing);
    }
    check::http_speaks(root, &listeners, &mapping);
    let routing = routing?;
    Some(Config { server, certificates, tls, listeners, destinations, routing, mapping })
}
