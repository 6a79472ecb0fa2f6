//! The `destination` tables: backends, and how to reach them.
//!
//! Not here: resolution, health, and the choice among destinations.
//! Invariants: a leg that bears credentials is encrypted unless `allow_plaintext_auth`; with TLS
//! there is a name to verify or a pin; a client certificate has its key.
//! Read next: `routing` (who goes where), `check` (a destination must not be ourselves).

use alloc::{borrow::ToOwned, format, string::String, sync::Arc, vec, vec::Vec};
use core::net::IpAddr;

use super::{
    address::{address, host},
    choice::{Choice, Forwarding, Policy, Protocol, TlsMode},
    hosts::{self, Host},
    probes::{self, Probing, ReferralHost},
    reader::{Section, Value},
};

/// A backend, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Its name in the configuration and in map files.
    pub name: String,
    /// At least one, each label once.
    pub hosts: Vec<Arc<Host>>,
    /// How they share the accounts out.
    pub policy: Policy,
    /// The name every host's certificate must hold, where that is not the host's own.
    pub tls_server_name: Option<String>,
    /// How it is told who the client is, where an endpoint does not say otherwise (endpoints have
    /// it merged).
    pub forwarding: Forwarding,
    /// Whether any certificate will do.
    pub tls_allow_invalid_certs: bool,
    /// SHA-256 of acceptable certificates; if there is one, only these count.
    pub tls_pinned_cert_sha256: Vec<[u8; 32]>,
    /// Path of the chain that we present, PEM; with `tls_client_key` or not at all.
    pub tls_client_cert: Option<String>,
    /// Path of its private key, PEM.
    pub tls_client_key: Option<String>,
    /// Path of the authorities to trust in place of the system's, PEM.
    pub tls_ca_file: Option<String>,
    /// Our own addresses to connect from, in turn; empty: the system's choice.
    pub source_ips: Vec<IpAddr>,
    /// Whether clients hear our words in place of the backend's refusal.
    pub hide_auth_errors: bool,
    /// Whether credentials may travel without TLS.
    pub allow_plaintext_auth: bool,
    /// Whether clients of IMAP and ManageSieve are kept from clearing their login.
    pub guard: bool,
    /// Hosts that a backend may refer a login to.
    pub referral_hosts: Vec<ReferralHost>,
    /// How its hosts are probed; none: not at all.
    pub probing: Option<Probing>,
    /// Proxies that a login may pass through, this one counted.
    pub proxy_ttl: u8,
    /// What it speaks, each protocol once.
    pub endpoints: Vec<(Protocol, Endpoint)>,
}

/// How a destination is reached by one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// TCP port, from 1.
    pub port: u16,
    /// How TLS begins.
    pub tls: TlsMode,
    /// How the backend is told who the client is.
    pub forwarding: Forwarding,
}

impl Destination {
    /// How to reach it by a protocol; none if it does not speak it.
    pub fn endpoint(&self, protocol: Protocol) -> Option<&Endpoint> {
        let mut endpoints = self.endpoints.iter();
        endpoints.find(|(spoken, _)| *spoken == protocol).map(|(_, endpoint)| endpoint)
    }

    /// The name that a host's certificate must hold.
    pub fn tls_name<'a>(&'a self, host: &'a Host) -> &'a str {
        self.tls_server_name.as_deref().unwrap_or(&host.name)
    }
}

impl Endpoint {
    /// The port on a host.
    pub fn port_on(&self, host: &Host) -> u16 {
        host.port.unwrap_or(self.port)
    }
}

pub(super) fn read(name: &str, section: &Section<'_>, proxy_ttl: u8) -> Destination {
    let inherited = match section.or("proxy_protocol", true, Value::boolean) {
        true => Forwarding::Proxy,
        false => Forwarding::None,
    };
    let hosts = hosts::read(section, host);
    let mut destination = Destination {
        name: name.to_owned(),
        policy: hosts.policy,
        hosts: hosts.hosts,
        tls_server_name: section.optional("tls_server_name", host),
        forwarding: section.or("forwarding", inherited, |value| value.choice()),
        tls_allow_invalid_certs: section.or("tls_allow_invalid_certs", false, Value::boolean),
        tls_pinned_cert_sha256: section.or("tls_pinned_cert_sha256", Vec::new(), pins),
        tls_client_cert: section.optional("tls_client_cert", Value::file),
        tls_client_key: section.optional("tls_client_key", Value::file),
        tls_ca_file: section.optional("tls_ca_file", Value::file),
        source_ips: section.or("source_ips", Vec::new(), |value| value.list(address)),
        hide_auth_errors: section.or("hide_auth_errors", false, Value::boolean),
        allow_plaintext_auth: section.or("allow_plaintext_auth", false, Value::boolean),
        guard: section.or("guard", false, Value::boolean),
        referral_hosts: probes::read_referral_hosts(section),
        probing: probes::read(section),
        proxy_ttl,
        endpoints: Vec::new(),
    };
    destination.endpoints = Protocol::NAMES
        .iter()
        .filter(|(name, _)| section.section("protocol").holds(name))
        .map(|(_, protocol)| (*protocol, endpoint(*protocol, section, &destination)))
        .collect();
    if destination.endpoints.is_empty() {
        let remedy = format!("add a table such as [destination.{name}.protocol.imap]");
        section.fault(&["protocol"], "names no protocol", &remedy);
    }
    check_tls(section, &destination);
    check_guard(section, &destination);
    probes::check_referrals(section, &destination);
    hosts::check_ports(section, &destination.hosts, destination.endpoints.len());
    destination
}

/// The guard must have something to guard.
fn check_guard(section: &Section<'_>, destination: &Destination) {
    let is_of_use = |protocol| destination.endpoint(protocol).is_some();
    if destination.guard && !is_of_use(Protocol::Imap) && !is_of_use(Protocol::ManageSieve) {
        let problem = "has no effect, since the destination speaks neither imap nor managesieve";
        section.warning(&["guard"], problem, "remove it");
    }
}

/// How one protocol is reached, and the rules for its TLS.
fn endpoint(protocol: Protocol, section: &Section<'_>, destination: &Destination) -> Endpoint {
    let name = protocol.name();
    let table = section.section("protocol").section(name);
    let port = |value: &Value<'_>| value.integer(1..=u16::MAX.into());
    let port = table.required("port", "write the backend's port", port);
    let hint = "write \"implicit\", \"starttls\" or \"plain\"";
    let tls = table.required("tls", hint, |value| value.choice());
    let forwarding = table.or("forwarding", destination.forwarding, |value| value.choice());
    let credentials = protocol.bears_credentials();
    if credentials && tls == Some(TlsMode::Plain) && !destination.allow_plaintext_auth {
        let problem = "credentials would travel without TLS";
        let remedy = "use \"implicit\" or \"starttls\", or set allow_plaintext_auth = true";
        table.fault(&["tls"], problem, remedy);
    }
    if !credentials && tls == Some(TlsMode::StartTls) {
        let problem = format!("{name} is carried from the first byte, so there is no STARTTLS");
        table.fault(&["tls"], problem, "use \"implicit\" or \"plain\"");
    }
    if !credentials && forwarding == Forwarding::Xclient {
        let problem = format!("{name} is carried from the first byte, so there is no XCLIENT");
        table.fault(&["forwarding"], problem, "set it to \"proxy\" or \"none\"");
    }
    Endpoint {
        port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
        tls: tls.unwrap_or(TlsMode::Plain),
        forwarding,
    }
}

/// Rules for a destination's TLS as a whole.
fn check_tls(section: &Section<'_>, destination: &Destination) {
    let encrypted = destination.endpoints.iter().any(|(_, endpoint)| match endpoint.tls {
        TlsMode::Implicit | TlsMode::StartTls => true,
        TlsMode::Plain => false,
    });
    let pinned = !destination.tls_pinned_cert_sha256.is_empty();
    let named = section.holds("tls_server_name") || section.holds("tls_pinned_cert_sha256");
    let nameless = destination.hosts.iter().position(|host| host.name.parse::<IpAddr>().is_ok());
    if let Some(place) = nameless.filter(|_| encrypted && !named) {
        let problem = "is an address, which gives TLS no name to verify";
        let remedy = "set tls_server_name or tls_pinned_cert_sha256";
        let place = format!("{place}");
        let listed = section.holds("hosts");
        let path: &[&str] = if listed { &["hosts", &place] } else { &["host"] };
        section.fault(path, problem, remedy);
    }
    for (one, other) in
        [("tls_client_cert", "tls_client_key"), ("tls_client_key", "tls_client_cert")]
    {
        if section.holds(one) && !section.holds(other) {
            section.fault(&[one], format!("needs {other}"), "set both or neither");
        }
    }
    if destination.tls_allow_invalid_certs && pinned {
        let problem = "has no effect, since a pin decides";
        section.warning(&["tls_allow_invalid_certs"], problem, "remove it");
    } else if destination.tls_allow_invalid_certs {
        let problem = "anybody between the proxy and this backend can read credentials";
        section.warning(
            &["tls_allow_invalid_certs"],
            problem,
            "set tls_ca_file or tls_pinned_cert_sha256 in its place",
        );
    }
}

/// One pin, or a list of them for the time of a change.
fn pins(value: &Value<'_>) -> Option<Vec<[u8; 32]>> {
    if value.is_list() { value.list(pin) } else { pin(value).map(|pin| vec![pin]) }
}

fn pin(value: &Value<'_>) -> Option<[u8; 32]> {
    let text = value.text()?;
    let mut pin = [0; 32];
    let mut digits = text.chars().filter(|letter| *letter != ':').map(|letter| letter.to_digit(16));
    let mut whole = true;
    for octet in &mut pin {
        match (digits.next(), digits.next()) {
            (Some(Some(high)), Some(Some(low))) => *octet = (high * 16 + low) as u8,
            (_, _) => whole = false,
        }
    }
    if !whole || digits.next().is_some() {
        let problem = format!("\"{}\" is no SHA-256", text.escape_debug());
        value.fault(problem, "write 64 hexadecimal digits, with or without colons");
        return None;
    }
    Some(pin)
}
