//! The `listener` tables: addresses that clients connect to, with everything a session needs.
//!
//! Not here: sockets, and what is said on them.
//! Invariant: a `Listener` is resolved. Its own keys, the `capabilities` of its protocol, and the
//! `server`, `tls`, `routing` and `mapping` tables are merged into it.
//! Read next: `capabilities` (what it advertises), `check` (what two listeners must not share).

use alloc::{borrow::ToOwned, format, string::String, sync::Arc, vec::Vec};
use core::{net::SocketAddr, time::Duration};

use super::{
    address::{Cidr, cidr, socket_address},
    balancer::{self, Balancers},
    capabilities::{ByProtocol, banner, line, mechanisms},
    choice::{Normalize, Protocol, TlsMode, TlsVersion},
    destination::Destination,
    reader::{Section, Value},
    routing::Lookup,
    server::Limits,
    spelling::nearest,
};
use crate::sasl::Mechanism;

/// Addresses that clients connect to, and how they are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in the configuration.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where clients are carried from their first byte, on SMTP and LMTP; none where they log in.
    pub bridge: Option<Arc<Destination>>,
    /// Where it listens; at least one address, and port 0 stands for any free one.
    pub bind: Vec<SocketAddr>,
    /// How TLS begins.
    pub tls: TlsMode,
    /// Balancers in front of it; none: its clients connect themselves.
    pub balancers: Option<Balancers>,
    /// The name by which the proxy calls itself.
    pub hostname: String,
    /// Connections at a time; 0 closes the listener.
    pub max_connections: u32,
    /// Connections at a time from one address; none: as many as `max_connections`.
    pub max_connections_per_ip: Option<u32>,
    /// Who may connect; empty: everybody.
    pub allow: Vec<Cidr>,
    /// Proxies that may say who their client is, by the address of their socket.
    pub forwarding_trusted: Vec<Cidr>,
    /// The client's time before login, summed over the dialogue.
    pub preauth_timeout: Duration,
    /// Failed logins on one connection until it ends.
    pub max_auth_attempts: u32,
    /// Sent once to every client that logs in, as an IMAP alert.
    pub alert: Option<String>,
    /// How often a waiting client hears that work goes on; none: never.
    pub working_interval: Option<Duration>,
    /// Whether passwords and tokens are taken without TLS.
    pub cleartext_without_tls: bool,
    /// Mechanisms offered and accepted; at least one.
    pub mechanisms: Vec<Mechanism>,
    /// Capabilities in the protocol's own form, without those that depend on the connection: the
    /// mechanisms, STARTTLS and its like, and whether a password may be sent.
    pub advertise: Vec<String>,
    /// Whether that is to become what backends have in common ([`crate::survey`]), as far as it is
    /// known; until then it is a short list that every backend honours.
    pub advertise_auto: bool,
    /// The text of the greeting.
    pub banner: String,
    /// What the proxy says that it is, to clients of protocols in which that is said.
    pub implementation: String,
    /// Names of the certificates it may present; not empty unless `tls` is plain.
    pub certificates: Vec<String>,
    /// The lowest TLS version it takes.
    pub min_version: TlsVersion,
    /// What is done to a routing identifier before it is looked up.
    pub normalize: Normalize,
    /// At the first of these a user name's part for routing ends.
    pub master_user_separators: Vec<char>,
    /// The claim of a token that names its user, where the client does not.
    pub username_claim: String,
    /// How long a store may take to answer.
    pub lookup_timeout: Duration,
    /// How long one attempt at a backend may take, from connecting to its verdict.
    pub backend_timeout: Duration,
    /// Attempts after the first.
    pub connect_retries: u32,
    /// How long to wait, on the average, before an attempt at a host that has failed this login
    /// already; zero: not at all.
    pub retry_delay: Duration,
    /// How long a logged-in session may be silent.
    pub bridge_idle: Duration,
}

/// What listeners have in common, from the other tables.
pub(super) struct Inherited {
    pub(super) hostname: String,
    pub(super) limits: Limits,
    /// Names of all certificates.
    pub(super) certificates: Vec<String>,
    pub(super) min_version: TlsVersion,
    pub(super) capabilities: ByProtocol,
    pub(super) lookup: Lookup,
    /// Where SMTP and LMTP are carried to.
    pub(super) pass_through: Option<Arc<Destination>>,
}

const CONNECTIONS: u32 = 8192;
const CONNECTIONS_MAX: u32 = 1_000_000;
const PREAUTH_TIMEOUT: Duration = Duration::from_secs(30);
const AUTH_ATTEMPTS: u32 = 3;
const AUTH_ATTEMPTS_MAX: u32 = 100;
const WORKING_INTERVAL: Duration = Duration::from_secs(10);

/// Reads a listener; none if its protocol or its TLS is not known, which is a fault.
pub(super) fn read(name: &str, section: &Section<'_>, all: &Inherited) -> Option<Listener> {
    let protocol = section.required("protocol", "write protocol = \"imap\"", protocol);
    let hint = "write \"implicit\", \"starttls\" or \"plain\"";
    let tls = section.required("tls", hint, |value| value.choice());
    let hint = "list addresses with ports, such as [\"0.0.0.0:993\"]";
    let bind = section.required("bind", hint, |value| value.list(socket_address));
    let count = |value: &Value<'_>| value.integer(0..=CONNECTIONS_MAX);
    let count_one = |value: &Value<'_>| value.integer(1..=CONNECTIONS_MAX);
    let attempts = |value: &Value<'_>| value.integer(1..=AUTH_ATTEMPTS_MAX);
    let cleartext = "allow_plain_auth_without_tls";
    let names = |value: &Value<'_>| value.list(|name| certificate(name, &all.certificates));
    let lookup = &all.lookup;
    let told = all.capabilities.of(protocol.unwrap_or(Protocol::Imap));
    let carried = protocol.is_some_and(|protocol| !protocol.bears_credentials());
    let listener = Listener {
        name: name.to_owned(),
        protocol: protocol.unwrap_or(Protocol::Imap),
        bridge: all.pass_through.clone().filter(|_| carried),
        bind: bind.unwrap_or_default(),
        tls: tls.unwrap_or(TlsMode::Plain),
        balancers: balancer::read(section, &all.certificates),
        hostname: all.hostname.clone(),
        max_connections: section.or("max_connections", CONNECTIONS, count),
        max_connections_per_ip: section.optional("max_connections_per_ip", count_one),
        allow: section.or("allow", Vec::new(), |value| value.list(cidr)),
        forwarding_trusted: section.or("forwarding_trusted", Vec::new(), |it| it.list(cidr)),
        preauth_timeout: section.or("preauth_timeout", PREAUTH_TIMEOUT, Value::duration),
        max_auth_attempts: section.or("max_auth_attempts", AUTH_ATTEMPTS, attempts),
        alert: section.optional("alert", line).filter(|alert| !alert.is_empty()),
        working_interval: section.or("working_interval", Some(WORKING_INTERVAL), Value::interval),
        cleartext_without_tls: section.or(cleartext, told.cleartext_without_tls, Value::boolean),
        mechanisms: section.optional("sasl", mechanisms).unwrap_or(told.mechanisms.clone()),
        advertise: advertised(told.advertise.clone(), protocol, lookup.refers),
        advertise_auto: told.auto,
        banner: section.optional("banner", banner).unwrap_or(told.banner.clone()),
        implementation: told.implementation.clone(),
        certificates: section.optional("certificates", names).unwrap_or(all.certificates.clone()),
        min_version: section.or("min_version", all.min_version, |value| value.choice()),
        normalize: section.or("normalize", lookup.normalize, |value| value.choice()),
        master_user_separators: lookup.master_user_separators.clone(),
        username_claim: lookup.username_claim.clone(),
        lookup_timeout: lookup.timeout,
        backend_timeout: all.limits.backend_timeout,
        connect_retries: all.limits.connect_retries,
        retry_delay: all.limits.retry_delay,
        bridge_idle: all.limits.bridge_idle,
    };
    check(section, &listener, tls, !all.certificates.is_empty());
    protocol.and(tls).map(|_| listener)
}

/// What is listed, and what RFC 2221 wants listed where a client may be referred.
fn advertised(mut listed: Vec<String>, protocol: Option<Protocol>, refers: bool) -> Vec<String> {
    if refers && protocol == Some(Protocol::Imap) {
        listed.push("LOGIN-REFERRALS".to_owned());
    }
    listed
}

fn protocol(value: &Value<'_>) -> Option<Protocol> {
    let text = value.text()?;
    if text.eq_ignore_ascii_case("http") {
        value.fault("HTTP is not carried", "remove this listener");
        return None;
    }
    value.choice()
}

/// Reads the name of a certificate that there is.
pub(super) fn certificate(value: &Value<'_>, known: &[String]) -> Option<String> {
    let name = value.text()?;
    if !known.iter().any(|known| known == name) {
        let remedy = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("add [tls.certificate.{name}], or name another"),
        };
        value.fault(format!("there is no certificate \"{name}\""), &remedy);
    }
    Some(name.to_owned())
}

/// Rules that span a listener's keys.
fn check(section: &Section<'_>, listener: &Listener, tls: Option<TlsMode>, certificates: bool) {
    if section.value("bind").is_some_and(|bind| bind.is_list()) && listener.bind.is_empty() {
        section.fault(&["bind"], "names no address", "list addresses, or remove the listener");
    }
    match tls {
        Some(TlsMode::Implicit | TlsMode::StartTls) if !certificates => {
            let remedy = "add a table such as [tls.certificate.main] with cert and key";
            section.fault(&["tls"], "needs a certificate, and there is none", remedy);
        }
        Some(TlsMode::Implicit | TlsMode::StartTls) if listener.certificates.is_empty() => {
            let remedy = "name one, or remove the key to use all";
            section.fault(&["certificates"], "leaves the listener without a certificate", remedy);
        }
        Some(TlsMode::Plain)
            if listener.protocol.bears_credentials()
                && !listener.cleartext_without_tls
                && listener.balancers.is_none()
                && listener.mechanisms.iter().all(|mechanism| is_cleartext(*mechanism)) =>
        {
            let problem = "nobody can log in here, since every mechanism needs TLS";
            let remedy =
                "use \"implicit\" or \"starttls\", or set allow_plain_auth_without_tls = true";
            section.warning(&["tls"], problem, remedy);
        }
        Some(TlsMode::Implicit | TlsMode::StartTls | TlsMode::Plain) | None => {}
    }
    if !listener.protocol.bears_credentials() {
        check_carried(section, listener);
    }
    if listener.alert.is_some() && listener.protocol != Protocol::Imap {
        let problem = "has no effect, since only IMAP can carry an alert";
        section.warning(&["alert"], problem, "remove it");
    }
    if listener.max_connections == 0 {
        let problem = "closes this listener: nobody can log in here";
        section.warning(&["max_connections"], problem, "raise it when the listener is to serve");
    }
}

/// Rules for a listener whose clients are carried from their first byte.
fn check_carried(section: &Section<'_>, listener: &Listener) {
    const OF_LOGINS: [&str; 7] = [
        "max_auth_attempts",
        "working_interval",
        "allow_plain_auth_without_tls",
        "sasl",
        "banner",
        "normalize",
        "forwarding_trusted",
    ];
    let carried = format!("{} is carried from the first byte", listener.protocol.name());
    if listener.tls == TlsMode::StartTls {
        let problem = format!("{carried}, so there is no STARTTLS of the proxy's");
        section.fault(&["tls"], problem, "use \"implicit\" or \"plain\"");
    }
    for key in OF_LOGINS.into_iter().filter(|key| section.holds(key)) {
        section.warning(&[key], format!("has no effect, since {carried}"), "remove it");
    }
}

/// Whether who overhears an exchange can log in with it.
fn is_cleartext(mechanism: Mechanism) -> bool {
    match mechanism {
        Mechanism::Plain | Mechanism::Login | Mechanism::OAuthBearer | Mechanism::XOAuth2 => true,
        Mechanism::ScramSha256 | Mechanism::ScramSha1 => false,
    }
}
