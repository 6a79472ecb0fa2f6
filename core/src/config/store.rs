//! The `mapping.http`, `mapping.redis` and `mapping.sql` tables: stores that are asked over the
//! network, and how long their answers are kept.
//!
//! Not here: asking them, which is a driver's.
//! Invariants: addresses of stores, statements aside, are secrets as a whole, for they may hold a
//! password; no message quotes one. Every statement has as many placeholders as it is given values.
//! Read next: `routing`, which says which of them is asked.

use alloc::{borrow::ToOwned, format, string::String, sync::Arc, vec::Vec};
use core::net::IpAddr;
use core::time::Duration;

use super::{
    address::is_host_name,
    choice::Choice,
    destination::Destination,
    reader::{Section, Value},
    routing::named,
    statement::{Dialect, placeholders},
};
use crate::route::cache::Keeping;
use crate::secret::Secret;

/// A server that judges logins in the manner of nginx's auth_http, and says where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpStore {
    /// At least one. The next is asked where one cannot be connected to.
    pub servers: Vec<HttpServer>,
    /// Whose ports' TLS and forwarding apply to the address that is answered.
    pub destination: Arc<Destination>,
    /// Header lines that are sent with every request.
    pub headers: Vec<(String, Secret)>,
    /// How names and passwords are escaped.
    pub encode: Encode,
    /// Whether names and passwords in the answer are escaped too.
    pub decode_response: bool,
}

/// Where one such server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpServer {
    /// Whether TLS begins with the first byte.
    pub tls: bool,
    /// A name or an address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Host and port as the configuration writes them.
    pub authority: String,
    /// From its slash, with the query if there is one.
    pub path: String,
}

/// What is escaped by a percent sign in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encode {
    /// Control characters, space and the percent sign, as nginx does.
    Nginx,
    /// Everything but visible ASCII as well, for servers that cannot read other bytes.
    All,
}

impl Choice for Encode {
    const NAMES: &'static [(&'static str, Self)] = &[("nginx", Self::Nginx), ("all", Self::All)];
}

/// A Redis server whose keys are identifiers and whose values are names of destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisStore {
    /// With scheme, and perhaps with a password.
    pub url: Secret,
    /// What stands before an identifier in a key.
    pub key_prefix: String,
    /// Connections at a time.
    pub pool_size: u32,
}

/// A database that answers identifiers with names of destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlStore {
    /// What it speaks.
    pub dialect: Dialect,
    /// With scheme, and perhaps with a password.
    pub url: Secret,
    /// From an identifier to a destination's name.
    pub query: String,
    /// Writes an identifier and a destination's name, if it may be written.
    pub upsert_query: Option<String>,
    /// Removes an identifier, if it may be written.
    pub delete_query: Option<String>,
    /// Connections at a time.
    pub pool_size: u32,
}

const POSITIVE_TTL: Duration = Duration::from_secs(600);
const NEGATIVE_TTL: Duration = Duration::from_secs(30);
const CACHE_ENTRIES: u32 = 1_000_000;
/// Accounts that a cache may be told to hold.
const CACHE_ENTRIES_MAX: u32 = 100_000_000;
const KEY_PREFIX: &str = "route:";
const POOL_SIZE: u32 = 16;
/// Connections to one store that may be asked for.
const POOL_SIZE_MAX: u32 = 1024;
/// Servers that a login may be judged by.
const SERVERS_MAX: usize = 16;
/// Octets of an address of a store.
const URL_OCTETS_MAX: usize = 2048;
/// The schemes by which a Redis server is named.
const REDIS_SCHEMES: [&str; 4] = ["redis://", "rediss://", "redis+unix://", "unix://"];
/// Headers that belong to the protocol, or would break its framing.
const OWN_HEADERS: [&str; 5] =
    ["host", "content-length", "transfer-encoding", "connection", "expect"];
/// What the protocol's own headers begin with.
const OWN_PREFIXES: [&str; 4] = ["auth-", "client-", "server-", "proxy-protocol-"];

/// How long answers are kept, and how many.
pub(super) fn read_keeping(mapping: &Section<'_>) -> Keeping {
    let ttl = |key: &str, default| {
        let ttl = mapping.optional(key, Value::interval);
        ttl.map_or(default, |ttl| ttl.unwrap_or(Duration::ZERO))
    };
    let entries = |value: &Value<'_>| value.integer(0..=CACHE_ENTRIES_MAX);
    Keeping {
        entries_max: mapping.or("cache_max_entries", CACHE_ENTRIES, entries) as usize,
        positive_ttl: ttl("positive_ttl", POSITIVE_TTL),
        negative_ttl: ttl("negative_ttl", NEGATIVE_TTL),
    }
}

/// Reads `mapping.http`; complains of what is missing only where it is asked.
pub(super) fn read_http(
    section: &Section<'_>,
    destinations: &[Arc<Destination>],
    asked: bool,
) -> Option<HttpStore> {
    let servers = need(section, "urls", "list the servers to ask", asked, servers);
    let hint = "name the destination whose TLS and forwarding apply to the address answered";
    let named = |value: &Value<'_>| named(value, destinations);
    let destination = need(section, "destination", hint, asked, named);
    let headers = section.or("headers", Vec::new(), headers);
    let encode = section.or("encode", Encode::Nginx, |value| value.choice());
    let decode_response = section.or("decode_response", false, Value::boolean);
    Some(HttpStore {
        servers: servers?,
        destination: destination?,
        headers,
        encode,
        decode_response,
    })
}

/// Reads `mapping.redis`; complains of what is missing only where it is asked.
pub(super) fn read_redis(section: &Section<'_>, asked: bool) -> Option<RedisStore> {
    let hint = "write it as redis://host:6379/0, or rediss:// for TLS";
    let url = need(section, "url", hint, asked, |value| url(value, &REDIS_SCHEMES, hint));
    let key_prefix = section.or("key_prefix", KEY_PREFIX.to_owned(), key_prefix);
    let pool_size = section.or("pool_size", POOL_SIZE, pool_size);
    let (_, url) = url?;
    Some(RedisStore { url, key_prefix, pool_size })
}

/// Reads `mapping.sql`; complains of what is missing only where it is asked.
pub(super) fn read_sql(section: &Section<'_>, asked: bool) -> Option<SqlStore> {
    let hint = "write it as postgres://user@host/database, mysql://… or sqlite:///path";
    let schemes = Dialect::SCHEMES.map(|(scheme, _)| scheme);
    let url = need(section, "url", hint, asked, |value| url(value, &schemes, hint));
    let (scheme, url) = url.unzip();
    let known = Dialect::SCHEMES.into_iter().find(|(known, _)| Some(*known) == scheme);
    let dialect = known.map(|(_, dialect)| dialect);
    let hint = "write a statement that answers an identifier with a destination's name";
    let query = need(section, "query", hint, asked, |value| statement(value, dialect, 1));
    let upsert_query = section.optional("upsert_query", |value| statement(value, dialect, 2));
    let delete_query = section.optional("delete_query", |value| statement(value, dialect, 1));
    let pool_size = section.or("pool_size", POOL_SIZE, pool_size);
    let (dialect, url, query) = (dialect?, url?, query?);
    Some(SqlStore { dialect, url, query, upsert_query, delete_query, pool_size })
}

/// What a key says, which must be there if its table is asked.
fn need<'d, T>(
    section: &Section<'d>,
    key: &str,
    hint: &str,
    asked: bool,
    read: impl FnOnce(&Value<'d>) -> Option<T>,
) -> Option<T> {
    if asked { section.required(key, hint, read) } else { section.optional(key, read) }
}

fn pool_size(value: &Value<'_>) -> Option<u32> {
    value.integer(1..=POOL_SIZE_MAX)
}

fn key_prefix(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if text.chars().any(char::is_control) {
        value.fault("holds a control character", "write printable text, such as \"route:\"");
        return None;
    }
    Some(text.to_owned())
}

/// An address of a store, with the scheme that it has; the message never quotes it.
fn url(
    value: &Value<'_>,
    schemes: &[&'static str],
    remedy: &str,
) -> Option<(&'static str, Secret)> {
    let text = value.text()?;
    let found = schemes.iter().find(|scheme| text.starts_with(**scheme));
    let whole = found.filter(|scheme| {
        text.len() > scheme.len() && text.len() <= URL_OCTETS_MAX && text.bytes().all(is_visible)
    });
    if whole.is_none() {
        value.fault("is no address of such a store", remedy);
    }
    whole.map(|scheme| (*scheme, Secret::from(text.as_bytes())))
}

fn statement(value: &Value<'_>, dialect: Option<Dialect>, wanted: usize) -> Option<String> {
    let text = value.text()?;
    // Without an address nobody knows what a placeholder looks like, and that is a fault already.
    let Some(dialect) = dialect else { return Some(text.to_owned()) };
    match placeholders(text, dialect) {
        Ok(found) if found == wanted => return Some(text.to_owned()),
        Ok(found) => {
            let values = if wanted == 1 { "the identifier" } else { "identifier and destination" };
            let signs = if found == 1 { "placeholder" } else { "placeholders" };
            let problem = format!("has {found} {signs}, and is given {wanted}: {values}");
            value.fault(problem, dialect.placeholder_shape());
        }
        Err(problem) => value.fault(problem.text(), dialect.placeholder_shape()),
    }
    None
}

fn servers(value: &Value<'_>) -> Option<Vec<HttpServer>> {
    let servers = value.list(server)?;
    if value.is_empty_list() {
        value.fault("lists nobody", "list the servers to ask");
        return None;
    }
    if servers.len() > SERVERS_MAX {
        value.fault("lists too many servers", &format!("list {SERVERS_MAX} at most"));
        return None;
    }
    Some(servers)
}

fn server(value: &Value<'_>) -> Option<HttpServer> {
    let parsed = parse_server(value.text()?);
    if let Err(problem) = parsed {
        value.fault(problem, "write it as http://host:port/path or https://host/path");
    }
    parsed.ok()
}

fn parse_server(text: &str) -> Result<HttpServer, &'static str> {
    let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err("is no address of an HTTP server"),
    };
    if text.len() > URL_OCTETS_MAX || !text.bytes().all(is_visible) {
        return Err("holds what no address may hold, or is too long");
    }
    let (authority, path) = match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if authority.contains('@') {
        return Err("names a user, which belongs into headers");
    }
    if path.contains('#') {
        return Err("has a fragment, which no server is told");
    }
    let (host, port) = split_port(authority).ok_or("has no port where one should be")?;
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = match address {
        Some(address) if address.contains(':') && address.parse::<IpAddr>().is_ok() => address,
        None if is_host_name(host) || host.parse::<IpAddr>().is_ok() => host,
        Some(_) | None => return Err("names no host"),
    };
    Ok(HttpServer {
        tls,
        host: host.to_owned(),
        port: port.unwrap_or(if tls { 443 } else { 80 }),
        authority: authority.to_owned(),
        path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
    })
}

/// Host and port of an authority; a colon within brackets begins no port.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            let port = port.parse().ok().filter(|port| *port != 0)?;
            Some((host, Some(port)))
        }
        Some(_) | None => Some((authority, None)),
    }
}

fn headers(value: &Value<'_>) -> Option<Vec<(String, Secret)>> {
    let Some(section) = value.section() else {
        value.fault("must be a table", "write it as { \"X-Auth-Key\" = \"…\" }");
        return None;
    };
    let entries = section.entries();
    Some(entries.iter().filter_map(|(name, value)| header(name, value)).collect())
}

fn header(name: &str, value: &Value<'_>) -> Option<(String, Secret)> {
    let lower = name.to_ascii_lowercase();
    // Letters, digits and hyphens: nginx reads no other names, and so nor do servers for it.
    if name.is_empty() || !name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
    {
        value.fault("is no name of a header", "use letters, digits and hyphens");
        return None;
    }
    if OWN_HEADERS.contains(&&*lower) || OWN_PREFIXES.iter().any(|own| lower.starts_with(own)) {
        value.fault("is a header of the protocol itself", "choose another name");
        return None;
    }
    let text = value.text()?;
    if text.bytes().any(|octet| octet.is_ascii_control()) {
        value.fault("holds a control character", "write one line of text");
        return None;
    }
    Some((name.to_owned(), Secret::from(text.as_bytes())))
}

const fn is_visible(octet: u8) -> bool {
    octet.is_ascii_graphic()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_http() {
        for (text, tls, host, port, path) in [
            ("http://127.0.0.1:9000/auth", false, "127.0.0.1", 9000, "/auth"),
            ("http://auth.test", false, "auth.test", 80, "/"),
            ("https://auth.test/a/b?c=d", true, "auth.test", 443, "/a/b?c=d"),
            ("http://[2001:db8::1]:8080/", false, "2001:db8::1", 8080, "/"),
            ("http://[::1]?a=b", false, "::1", 80, "/?a=b"),
        ] {
            let server = parse_server(text).expect(text);
            let found = (server.tls, &*server.host, server.port, &*server.path);
            assert_eq!(found, (tls, host, port, path), "{text}");
        }
        assert_eq!(parse_server("http://[::1]:8080/").expect("it is one").authority, "[::1]:8080");
    }

    #[test]
    fn what_is_no_server_of_http() {
        for text in [
            "",
            "127.0.0.1:9000/auth",
            "ftp://auth.test/",
            "http://",
            "http:///auth",
            "http://auth.test:0/",
            "http://auth.test:65536/",
            "http://auth.test:/",
            "http://::1/",
            "http://[::1/",
            "http://[127.0.0.1]/",
            "http://a b/",
            "http://auth.test/a\r\nb",
            "http://me:secret@auth.test/",
            "http://auth.test/#top",
        ] {
            assert!(parse_server(text).is_err(), "{text}");
        }
    }
}
