//! The header of a script: the listener and the routes that its lines describe.
//!
//! The values are built directly, not by way of a configuration file, so that a script can hold
//! what it needs and nothing else. The defaults are those that `conformance/scripts/README.md`
//! names.
//! Invariant: every key is known and stands once; a mistyped one is a fault, not a default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_core::config::{
    Balancers, Destination, Endpoint, Forwarding, Host, Listener, Normalize, Policy, Protocol,
    ReferralHost, Standing, TlsMode, TlsVersion,
};
use gatepost_core::health::Rules;
use gatepost_core::sasl::Mechanism;

use super::text::{expand, words};

/// The listener of a `listen:` line.
pub(crate) fn listener(text: &str) -> Result<Listener, String> {
    let words = words(text)?;
    let (protocol, keys) = words.split_first().ok_or("a protocol is missing")?;
    let mut keys = Keys::read(keys)?;
    let tls = keys.take("tls", tls_mode)?.unwrap_or(TlsMode::Plain);
    let protocol = protocol_named(protocol)?;
    let listener = Listener {
        name: "script".into(),
        protocol,
        bridge: None,
        bind: vec![SocketAddr::from(([198, 51, 100, 1], 143))],
        tls,
        balancers: balancers(&mut keys)?,
        hostname: keys.take("hostname", text_of)?.unwrap_or("mail.example.com".into()),
        max_connections: keys.take("max_connections", number)?.unwrap_or(8192),
        max_connections_per_ip: None,
        allow: keys.take("allow", |text| list(text, ",", parsed))?.unwrap_or_default(),
        forwarding_trusted: keys
            .take("forwarding_trusted", |text| list(text, ",", parsed))?
            .unwrap_or_default(),
        preauth_timeout: keys.take("preauth_timeout", span)?.unwrap_or(Duration::from_secs(30)),
        max_auth_attempts: keys.take("max_auth_attempts", number)?.unwrap_or(3),
        alert: keys.take("alert", text_of)?,
        working_interval: keys.take("working_interval", interval)?.unwrap_or(WORKING_INTERVAL),
        cleartext_without_tls: keys.take("cleartext", yes_or_no)?.unwrap_or(false),
        mechanisms: keys
            .take("sasl", |text| list(text, ",", mechanism))?
            .unwrap_or_else(|| vec![Mechanism::Plain, Mechanism::OAuthBearer, Mechanism::XOAuth2]),
        advertise: keys
            .take("advertise", |text| list(text, " ", expanded))?
            .unwrap_or_else(|| advertised(protocol)),
        advertise_auto: false,
        banner: keys.take("banner", text_of)?.unwrap_or("ready".into()),
        implementation: keys.take("implementation", text_of)?.unwrap_or("Gatepost".into()),
        certificates: if tls == TlsMode::Plain { Vec::new() } else { vec!["script".into()] },
        min_version: TlsVersion::V1_2,
        normalize: keys.take("normalize", normalize)?.unwrap_or(Normalize::None),
        master_user_separators: keys
            .take("separators", |text| Ok(text.chars().collect()))?
            .unwrap_or_else(|| vec!['%']),
        username_claim: keys.take("claim", text_of)?.unwrap_or("email".into()),
        lookup_timeout: keys.take("lookup_timeout", span)?.unwrap_or(Duration::from_secs(5)),
        backend_timeout: keys.take("backend_timeout", span)?.unwrap_or(Duration::from_secs(10)),
        connect_retries: keys.take("retries", number)?.unwrap_or(1),
        retry_delay: keys.take("retry_delay", span)?.unwrap_or(Duration::ZERO),
        bridge_idle: keys.take("bridge_idle", span)?.unwrap_or(Duration::from_secs(30 * 60)),
    };
    keys.finish()?;
    Ok(listener)
}

/// What the keys say of balancers in front of the listener.
fn balancers(keys: &mut Keys<'_>) -> Result<Option<Balancers>, String> {
    let required = keys.take("proxy_protocol", |text| match text {
        "optional" => Ok(false),
        "required" => Ok(true),
        _ => Err(format!("{text:?} is neither optional nor required")),
    })?;
    let trusted = keys.take("proxy_trusted", |text| list(text, ",", parsed))?;
    let tls = keys.take("proxy_tls", yes_or_no)?.unwrap_or(false);
    match (required, trusted) {
        (None, None) if !tls => Ok(None),
        (Some(required), Some(trusted)) => {
            let tls = tls.then(|| "balancer".into());
            Ok(Some(Balancers { required, trusted, tls }))
        }
        (_, _) => Err("proxy_protocol and proxy_trusted stand together".into()),
    }
}

/// What a listener advertises where its line says nothing of it.
fn advertised(protocol: Protocol) -> Vec<String> {
    let tokens: &[&str] = match protocol {
        Protocol::Imap => &["IMAP4rev1", "SASL-IR", "LITERAL+"],
        Protocol::Pop3 => &["TOP", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UIDL"],
        Protocol::ManageSieve => &["fileinto", "vacation"],
        Protocol::Submission => &["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN"],
        Protocol::Smtp | Protocol::Lmtp => &[],
    };
    tokens.iter().map(|token| String::from(*token)).collect()
}

const WORKING_INTERVAL: Option<Duration> = Some(Duration::from_secs(10));

/// A `route:` line.
pub(crate) struct Route {
    /// None: everybody else.
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) destination: Arc<Destination>,
}

/// The route of a `route:` line for a listener of that protocol.
pub(crate) fn route(text: &str, listener: Protocol) -> Result<Route, String> {
    let (user, rest) = text.split_once(" -> ").ok_or("a route is USER -> HOST:PORT MODE")?;
    let user = expand(user.trim())?.octets;
    let words = words(rest)?;
    let [place, mode, keys @ ..] = words.as_slice() else {
        return Err("a route is USER -> HOST:PORT MODE".into());
    };
    let (host, port) = place.rsplit_once(':').ok_or("a route leads to HOST:PORT")?;
    let tls = tls_mode(mode)?;
    let mut keys = Keys::read(keys)?;
    let forwarding = keys.take("forwarding", forwarding)?.unwrap_or(Forwarding::None);
    let spoken = keys.take("protocol", protocol_named)?.unwrap_or(listener);
    let cleartext = keys.take("cleartext", yes_or_no)?.unwrap_or(tls == TlsMode::Plain);
    let hosts = hosts(host, &mut keys)?;
    let destination = Destination {
        name: keys.take("name", text_of)?.unwrap_or_else(|| hosts[0].name.clone()),
        hosts,
        policy: keys.take("policy", policy)?.unwrap_or(Policy::Rendezvous),
        tls_server_name: None,
        forwarding,
        tls_allow_invalid_certs: false,
        tls_pinned_cert_sha256: Vec::new(),
        tls_client_cert: None,
        tls_client_key: None,
        tls_ca_file: None,
        source_ips: Vec::new(),
        hide_auth_errors: keys.take("hide_auth_errors", yes_or_no)?.unwrap_or(false),
        allow_plaintext_auth: cleartext,
        guard: keys.take("guard", yes_or_no)?.unwrap_or(false),
        referral_hosts: keys
            .take("referrals", |text| list(text, ",", referral_host))?
            .unwrap_or_default(),
        probing: None,
        proxy_ttl: keys.take("ttl", parsed)?.unwrap_or(7),
        endpoints: vec![(spoken, Endpoint { port: parsed(port)?, tls, forwarding })],
    };
    keys.finish()?;
    let user = (user != b"*").then_some(user);
    Ok(Route { user, destination: Arc::new(destination) })
}

/// The hosts before the port: `a.test,b.test=2`, `[2001:db8::1]`.
fn hosts(text: &str, keys: &mut Keys<'_>) -> Result<Vec<Arc<Host>>, String> {
    let mut hosts = text
        .split(',')
        .map(|host| {
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            Host::parse(bare.unwrap_or(host)).map_err(|_| format!("{host:?} is no host"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    for standing in [Standing::Draining, Standing::Standby, Standing::Down] {
        let named = keys.take(standing.name(), |text| list(text, ",", text_of))?;
        for name in named.unwrap_or_default() {
            let host = hosts.iter_mut().find(|host| *host.label == *name);
            host.ok_or_else(|| format!("{name:?} is no host of this route"))?.standing = standing;
        }
    }
    Ok(hosts.into_iter().map(Arc::new).collect())
}

fn policy(text: &str) -> Result<Policy, String> {
    let mut all = [Policy::Rendezvous, Policy::First, Policy::RoundRobin].into_iter();
    all.find(|policy| policy.name() == text)
        .ok_or_else(|| format!("{text:?} is not rendezvous, first or round-robin"))
}

#[expect(clippy::unnecessary_wraps, reason = "every reader of a value may fail")]
fn referral_host(text: &str) -> Result<ReferralHost, String> {
    Ok(match text.strip_prefix('*') {
        Some(domain) => ReferralHost::Below(domain.into()),
        None => ReferralHost::Exact(text.into()),
    })
}

/// A `fleet:` line: when a host is taken out of service.
pub(crate) fn rules(text: &str) -> Result<Rules, String> {
    let words = words(text)?;
    let mut keys = Keys::read(&words)?;
    let Rules { threshold, min_clients, cooldown } = Rules::default();
    let rules = Rules {
        threshold: keys.take("threshold", number)?.unwrap_or(threshold),
        min_clients: keys.take("min_clients", number)?.unwrap_or(min_clients),
        cooldown: keys.take("cooldown", span)?.unwrap_or(cooldown),
    };
    keys.finish()?;
    Ok(rules)
}

/// A span: `500ms`, `9s`, `3m`, `1h`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let count: u64 = parsed(count)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return Err(format!("{text:?} is not a span: 500ms, 9s, 3m, 1h")),
    };
    count.checked_mul(millis).map(Duration::from_millis).ok_or("the span is too long".into())
}

/// What a text parses to.
pub(super) fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is not acceptable here"))
}

/// `key=value` words that nobody has asked for yet.
pub(super) struct Keys<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Keys<'a> {
    pub(super) fn read(words: &'a [String]) -> Result<Self, String> {
        let mut keys = BTreeMap::new();
        for word in words {
            let (key, value) =
                word.split_once('=').ok_or_else(|| format!("{word:?} is not key=value"))?;
            if keys.insert(key, value).is_some() {
                return Err(format!("{key} stands twice"));
            }
        }
        Ok(Self(keys))
    }

    pub(super) fn take<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let value = self.0.remove(key).map(read).transpose();
        value.map_err(|problem| format!("{key}: {problem}"))
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), String> {
        match self.0.keys().next() {
            Some(key) => Err(format!("{key}= is not a key here")),
            None => Ok(()),
        }
    }
}

/// A value that is text.
#[expect(clippy::unnecessary_wraps, reason = "every reader of a value may fail")]
pub(super) fn text_of(text: &str) -> Result<String, String> {
    Ok(text.into())
}

/// A text with escapes, so that it can hold a space where spaces separate.
fn expanded(text: &str) -> Result<String, String> {
    String::from_utf8(expand(text)?.octets).map_err(|_| format!("{text:?} is not UTF-8"))
}

fn list<T>(
    text: &str,
    separator: &str,
    item: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    text.split(separator).filter(|text| !text.is_empty()).map(item).collect()
}

fn number(text: &str) -> Result<u32, String> {
    parsed(text)
}

fn interval(text: &str) -> Result<Option<Duration>, String> {
    if text == "never" { Ok(None) } else { span(text).map(Some) }
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("{text:?} is neither yes nor no")),
    }
}

fn mechanism(text: &str) -> Result<Mechanism, String> {
    Mechanism::parse(text.as_bytes()).ok_or_else(|| format!("{text:?} is no mechanism"))
}

fn protocol_named(text: &str) -> Result<Protocol, String> {
    const ALL: [Protocol; 6] = [
        Protocol::Imap,
        Protocol::Pop3,
        Protocol::ManageSieve,
        Protocol::Submission,
        Protocol::Smtp,
        Protocol::Lmtp,
    ];
    let mut all = ALL.into_iter();
    all.find(|protocol| protocol.name() == text).ok_or_else(|| format!("{text:?} is no protocol"))
}

fn tls_mode(text: &str) -> Result<TlsMode, String> {
    let mut all = [TlsMode::Implicit, TlsMode::StartTls, TlsMode::Plain].into_iter();
    all.find(|mode| mode.name() == text)
        .ok_or_else(|| format!("{text:?} is not implicit, starttls or plain"))
}

fn forwarding(text: &str) -> Result<Forwarding, String> {
    let mut all = [Forwarding::Proxy, Forwarding::Xclient, Forwarding::None].into_iter();
    all.find(|way| way.name() == text)
        .ok_or_else(|| format!("{text:?} is not proxy, xclient or none"))
}

fn normalize(text: &str) -> Result<Normalize, String> {
    const ALL: [Normalize; 7] = [
        Normalize::None,
        Normalize::Lowercase,
        Normalize::Auto,
        Normalize::PrecisCasefoldEmail,
        Normalize::PrecisCasefold,
        Normalize::PrecisEmail,
        Normalize::Precis,
    ];
    let mut all = ALL.into_iter();
    all.find(|form| form.name() == text).ok_or_else(|| format!("{text:?} is no form of names"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_listener_has_the_defaults_and_what_its_line_says() {
        let plain = listener("imap").unwrap();
        assert_eq!(plain.banner, "ready");
        assert_eq!(plain.preauth_timeout, Duration::from_secs(30));
        assert!(plain.certificates.is_empty());
        let other = listener(
            r#"imap tls=starttls banner="at your service" sasl=PLAIN,LOGIN working_interval=never
               advertise="IMAP4rev2 LITERAL-" retries=0 cleartext=yes"#,
        )
        .unwrap();
        assert_eq!(other.banner, "at your service");
        assert_eq!(other.mechanisms, [Mechanism::Plain, Mechanism::Login]);
        assert_eq!(other.working_interval, None);
        assert_eq!(other.advertise, ["IMAP4rev2", "LITERAL-"]);
        assert_eq!((other.connect_retries, other.cleartext_without_tls), (0, true));
        assert!(!other.certificates.is_empty());
    }

    #[test]
    fn what_is_mistyped_is_named() {
        for text in ["", "impa", "imap tsl=plain", "imap tls=on", "imap tls=plain tls=plain"] {
            assert!(listener(text).is_err(), "{text}");
        }
        for text in ["a > b:1 plain", "a -> b plain", "a -> b:1", "a -> b:1 plain x=y"] {
            assert!(route(text, Protocol::Imap).is_err(), "{text}");
        }
    }

    #[test]
    fn a_route_says_where_and_how() {
        let Route { user, destination } =
            route("* -> [2001:db8::1]:993 implicit ttl=2 name=far", Protocol::Imap).unwrap();
        assert_eq!(user, None);
        let name = destination.hosts[0].name.as_str();
        assert_eq!((name, destination.name.as_str()), ("2001:db8::1", "far"));
        assert_eq!(destination.proxy_ttl, 2);
        assert!(!destination.allow_plaintext_auth);
        let endpoint = destination.endpoint(Protocol::Imap).unwrap();
        assert_eq!((endpoint.port, endpoint.tls), (993, TlsMode::Implicit));
        assert!(
            route("a -> b:143 plain", Protocol::Imap).unwrap().destination.allow_plaintext_auth
        );
    }

    #[test]
    fn spans() {
        assert_eq!(span("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(span("2m").unwrap(), Duration::from_secs(120));
        for text in ["", "5", "s", "5d", "-1s", "99999999999999999999s"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
