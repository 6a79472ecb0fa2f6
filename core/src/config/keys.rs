//! Every key that is documented, and which of them this program knows to honour.
//!
//! Not here: types, limits and defaults, which stand where a key is read.
//! Invariants: the readers take exactly the keys that are `Built`; `config-examples/reference.toml`
//! describes exactly the keys of this table. Tests hold both.
//! Read next: `reader`.

use alloc::{format, vec::Vec};

use super::{
    reader::{Section, Value},
    spelling::nearest,
};

/// What becomes of a documented key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is read.
    Built,
    /// It is refused, so that nobody relies on it.
    NotBuilt,
    /// It belongs to HTTP, which is not carried: ignored with one warning, and all below it.
    Http,
}

use Standing::{Built, Http, NotBuilt};

/// Every documented key; `*` stands for a name that the file's author chooses.
pub(super) const KEYS: &[(&str, Standing)] = &[
    ("server.threads", Built),
    ("server.hostname", Built),
    ("server.shutdown_grace", Built),
    ("server.bridge_idle", Built),
    ("server.backend_timeout", Built),
    ("server.backend_connect_retries", Built),
    ("server.host_down_threshold", Built),
    ("server.host_down_min_clients", Built),
    ("server.host_down_cooldown", Built),
    ("server.proxy_ttl", Built),
    ("server.log_level", Built),
    ("server.log_format", Built),
    ("server.io_debug_dir", NotBuilt),
    ("tls.certificate.*.cert", Built),
    ("tls.certificate.*.key", Built),
    ("tls.certificate.*.subjects", Built),
    ("tls.certificate.*.default", Built),
    ("tls.protocols.min_version", Built),
    ("tls.protocols.ignore_client_order", Built),
    ("tls.protocols.disable_cipher_suites", Built),
    ("listener.*.protocol", Built),
    ("listener.*.bind", Built),
    ("listener.*.tls", Built),
    ("listener.*.proxy_protocol", Built),
    ("listener.*.proxy_trusted", Built),
    ("listener.*.proxy_tls", Built),
    ("listener.*.max_connections", Built),
    ("listener.*.max_connections_per_ip", Built),
    ("listener.*.allow", Built),
    ("listener.*.preauth_timeout", Built),
    ("listener.*.max_auth_attempts", Built),
    ("listener.*.alert", Built),
    ("listener.*.working_interval", Built),
    ("listener.*.forwarding_trusted", Built),
    ("listener.*.debug", NotBuilt),
    ("listener.*.io_debug", NotBuilt),
    ("listener.*.io_errors", NotBuilt),
    ("listener.*.allow_plain_auth_without_tls", Built),
    ("listener.*.sasl", Built),
    ("listener.*.banner", Built),
    ("listener.*.certificates", Built),
    ("listener.*.min_version", Built),
    ("listener.*.normalize", Built),
    ("listener.*.forwarded", Http),
    ("destination.*.host", Built),
    ("destination.*.hosts", Built),
    ("destination.*.policy", Built),
    ("destination.*.tls_server_name", Built),
    ("destination.*.proxy_protocol", Built),
    ("destination.*.forwarding", Built),
    ("destination.*.tls_allow_invalid_certs", Built),
    ("destination.*.tls_pinned_cert_sha256", Built),
    ("destination.*.tls_client_cert", Built),
    ("destination.*.tls_client_key", Built),
    ("destination.*.tls_ca_file", Built),
    ("destination.*.source_ips", Built),
    ("destination.*.hide_auth_errors", Built),
    ("destination.*.allow_plaintext_auth", Built),
    ("destination.*.referral_hosts", Built),
    ("destination.*.guard", Built),
    ("destination.*.probe_interval", Built),
    ("destination.*.probe_user", Built),
    ("destination.*.probe_password_file", Built),
    ("destination.*.forwarded", Http),
    ("destination.*.protocol.imap.port", Built),
    ("destination.*.protocol.imap.tls", Built),
    ("destination.*.protocol.imap.forwarding", Built),
    ("destination.*.protocol.pop3.port", Built),
    ("destination.*.protocol.pop3.tls", Built),
    ("destination.*.protocol.pop3.forwarding", Built),
    ("destination.*.protocol.managesieve.port", Built),
    ("destination.*.protocol.managesieve.tls", Built),
    ("destination.*.protocol.managesieve.forwarding", Built),
    ("destination.*.protocol.submission.port", Built),
    ("destination.*.protocol.submission.tls", Built),
    ("destination.*.protocol.submission.forwarding", Built),
    ("destination.*.protocol.smtp.port", Built),
    ("destination.*.protocol.smtp.tls", Built),
    ("destination.*.protocol.smtp.forwarding", Built),
    ("destination.*.protocol.lmtp.port", Built),
    ("destination.*.protocol.lmtp.tls", Built),
    ("destination.*.protocol.lmtp.forwarding", Built),
    ("destination.*.protocol.http", Http),
    ("routing.default_destination", Built),
    ("routing.smtp_passthrough_destination", Built),
    ("routing.master_user_separators", Built),
    ("mapping.source", Built),
    ("mapping.normalize", Built),
    ("mapping.positive_ttl", Built),
    ("mapping.negative_ttl", Built),
    ("mapping.cache_max_entries", Built),
    ("mapping.lookup_timeout", Built),
    ("mapping.on_error", Built),
    ("mapping.step.match", Built),
    ("mapping.step.regexp", Built),
    ("mapping.step.destination", Built),
    ("mapping.step.referral", Built),
    ("mapping.step.referral_user", Built),
    ("mapping.step.refuse", Built),
    ("mapping.step.login", Built),
    ("mapping.step.login_domain", Built),
    ("mapping.step.alert", Built),
    ("mapping.file.path", Built),
    ("mapping.redis.url", Built),
    ("mapping.redis.key_prefix", Built),
    ("mapping.redis.pool_size", Built),
    ("mapping.sql.url", Built),
    ("mapping.sql.query", Built),
    ("mapping.sql.upsert_query", Built),
    ("mapping.sql.delete_query", Built),
    ("mapping.sql.pool_size", Built),
    ("mapping.http.urls", Built),
    ("mapping.http.destination", Built),
    ("mapping.http.headers", Built),
    ("mapping.http.encode", Built),
    ("mapping.http.decode_response", Built),
    ("capabilities.imap.advertise", Built),
    ("capabilities.imap.sasl", Built),
    ("capabilities.imap.allow_plain_auth_without_tls", Built),
    ("capabilities.imap.banner", Built),
    ("capabilities.pop3.advertise", Built),
    ("capabilities.pop3.sasl", Built),
    ("capabilities.pop3.allow_plain_auth_without_tls", Built),
    ("capabilities.pop3.banner", Built),
    ("capabilities.managesieve.sieve", Built),
    ("capabilities.managesieve.sasl", Built),
    ("capabilities.managesieve.allow_plain_auth_without_tls", Built),
    ("capabilities.managesieve.implementation", Built),
    ("capabilities.managesieve.banner", Built),
    ("capabilities.submission.ehlo", Built),
    ("capabilities.submission.sasl", Built),
    ("capabilities.submission.allow_plain_auth_without_tls", Built),
    ("capabilities.submission.banner", Built),
    ("oauth.jwt_username_claim", Built),
    ("admin.bind", NotBuilt),
    ("admin.tls", NotBuilt),
    ("admin.bearer_token_file", NotBuilt),
    ("admin.bearer_token", NotBuilt),
    ("admin.min_token_len", NotBuilt),
    ("admin.lockout_threshold", NotBuilt),
    ("admin.lockout_duration", NotBuilt),
    ("admin.socket", NotBuilt),
    ("http", Http),
];

/// Keys that hold a list of tables.
const LISTS: [&str; 1] = ["mapping.step"];

/// Octets of a name that the file's author chooses.
const NAME_OCTETS_MAX: usize = 64;

/// Reports every key of the file that is unknown or not built.
pub(super) fn check(root: &Section<'_>) {
    let mut http = None;
    walk(root, "", &mut http);
    if let Some(value) = http {
        value.warning("HTTP is not carried, and its keys have no effect", "remove them");
    }
}

fn walk<'d>(section: &Section<'d>, pattern: &str, http: &mut Option<Value<'d>>) {
    let known = below(pattern);
    for (key, value) in section.entries() {
        let segment = known.iter().find(|segment| **segment == key || **segment == "*");
        let Some(segment) = segment else {
            unknown(&value, key, &known);
            continue;
        };
        if *segment == "*" && !is_name(key) {
            let remedy = "use 1 to 64 letters, digits, dots, hyphens and underscores";
            value.fault("is no name", remedy);
        }
        let pattern =
            if pattern.is_empty() { (*segment).into() } else { format!("{pattern}.{segment}") };
        match KEYS.iter().find(|(key, _)| *key == pattern) {
            Some((_, Built)) => {}
            Some((_, NotBuilt)) => not_built(&value),
            Some((_, Http)) => {
                http.get_or_insert(value);
            }
            None => table(&value, &pattern, http),
        }
    }
}

/// A key that has others below it.
fn table<'d>(value: &Value<'d>, pattern: &str, http: &mut Option<Value<'d>>) {
    if LISTS.contains(&pattern) {
        match value.sections() {
            Some(sections) => sections.iter().for_each(|section| walk(section, pattern, http)),
            None => {
                value.fault("must be a list of tables", &format!("write each as [[{pattern}]]"));
            }
        }
        return;
    }
    let Some(section) = value.section() else {
        return value.fault("must be a table", "write it as a [header]");
    };
    let mut standings = KEYS.iter().filter(|(key, _)| is_below(key, pattern));
    if section.entries().is_empty() && standings.all(|(_, standing)| *standing == NotBuilt) {
        not_built(value);
    }
    walk(&section, pattern, http);
}

fn not_built(value: &Value<'_>) {
    value.fault("is documented but not built yet", "remove it to start without it");
}

fn unknown(value: &Value<'_>, key: &str, known: &[&str]) {
    match nearest(key, known.iter().copied()) {
        Some(name) => value.fault("unknown key", &format!("did you mean \"{name}\"?")),
        None => value.fault("unknown key", &format!("there are {}", known.join(", "))),
    }
}

/// The next segments of the keys below a pattern, each once.
fn below(pattern: &str) -> Vec<&'static str> {
    let mut segments = Vec::new();
    for (key, _) in KEYS.iter().filter(|(key, _)| is_below(key, pattern)) {
        let rest = if pattern.is_empty() { key } else { &key[pattern.len() + 1..] };
        let segment = rest.split('.').next().unwrap_or(rest);
        if !segments.contains(&segment) {
            segments.push(segment);
        }
    }
    segments
}

fn is_below(key: &str, pattern: &str) -> bool {
    pattern.is_empty() || key.strip_prefix(pattern).is_some_and(|rest| rest.starts_with('.'))
}

/// Names appear in logs and map files, and so hold nothing that either would have to quote.
fn is_name(text: &str) -> bool {
    (1..=NAME_OCTETS_MAX).contains(&text.len())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet))
}
