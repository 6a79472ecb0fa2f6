//! The request: one line, header lines in nginx's order, and those that nginx does not send.
//!
//! Names and passwords are bytes and stay bytes; what could end a line is written as `%XX`.
//! Invariant: the request is built in one buffer that never grows, so that no copy of a password
//! is left behind.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::config::{Encode, HttpServer, HttpStore, Protocol};
use crate::contract::{Query, TlsFacts};
use crate::sasl::{Mechanism, Proof};
use crate::secret::Secret;

/// Octets of all lines that hold nothing of the client's choice.
const FIXED_LINES: usize = 1024;
/// OpenSSL's names of the cipher suites of TLS 1.2, which servers know, by their registered ones.
const OPENSSL_NAMES: [(&str, &str); 6] = [
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
];

/// The request that asks a server about a login. None: the login brings nothing to judge it by, as
/// SCRAM's does not. Servers were never asked about an empty password and a name alone, and some
/// take that for proof.
pub fn request(query: &Query, store: &HttpStore, server: &HttpServer) -> Option<Secret> {
    let user = query.login.user().unwrap_or_default();
    let pass = password(&query.login.proof);
    if pass.is_empty() {
        return None;
    }
    let authzid = authzid(&query.login.proof);
    let sni = query.tls.as_ref().and_then(|tls| tls.server_name.as_deref()).unwrap_or_default();
    let given = user.len() + pass.len() + authzid.len() + sni.len();
    let configured: usize =
        store.headers.iter().map(|(name, value)| name.len() + value.expose().len() + 4).sum();
    let capacity = FIXED_LINES + 3 * given + configured + server.path.len() + server.host.len();
    let mut lines = Lines { text: Vec::with_capacity(capacity), encode: store.encode };
    lines.text.extend_from_slice(b"GET ");
    lines.text.extend_from_slice(server.path.as_bytes());
    lines.text.extend_from_slice(b" HTTP/1.0\r\n");
    // Without its port, as nginx writes it.
    if server.host.contains(':') {
        lines.plain("Host", format_args!("[{}]", server.host));
    } else {
        lines.plain("Host", &server.host);
    }
    lines.plain("Auth-Method", method(query.login.mechanism));
    lines.escaped("Auth-User", user);
    lines.escaped("Auth-Pass", pass);
    lines.plain("Auth-Protocol", protocol_name(query.protocol));
    lines.plain("Auth-Login-Attempt", query.attempt);
    lines.plain("Client-IP", query.client.ip().to_canonical());
    if query.protocol == Protocol::Submission {
        // nginx's word where it was given no name server: nobody looked the client's name up.
        lines.plain("Client-Host", "[UNAVAILABLE]");
    }
    if let Some(header) = &query.header {
        lines.plain("Proxy-Protocol-Addr", header.client.ip());
        lines.plain("Proxy-Protocol-Port", header.client.port());
        lines.plain("Proxy-Protocol-Server-Addr", header.local.ip());
        lines.plain("Proxy-Protocol-Server-Port", header.local.port());
    }
    if let Some(tls) = &query.tls {
        lines.tls(tls);
    }
    lines.plain("Client-Port", query.client.port());
    lines.plain("Server-IP", query.local.ip().to_canonical());
    lines.plain("Server-Port", query.local.port());
    lines.plain("Auth-Session", query.session);
    lines.plain("Auth-Mechanism", query.login.mechanism.name());
    if !authzid.is_empty() {
        lines.escaped("Auth-Authzid", authzid);
    }
    for (name, value) in &store.headers {
        lines.line(name, |text| text.extend_from_slice(value.expose()));
    }
    lines.text.extend_from_slice(b"\r\n");
    debug_assert_eq!(lines.text.capacity(), capacity, "the buffer did not grow");
    Some(Secret::new(lines.text))
}

struct Lines {
    text: Vec<u8>,
    encode: Encode,
}

impl Lines {
    fn line(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b": ");
        value(&mut self.text);
        self.text.extend_from_slice(b"\r\n");
    }

    /// A line whose value cannot hold what would break it, and is no secret.
    fn plain(&mut self, name: &str, value: impl core::fmt::Display) {
        let mut shown = String::new();
        // Writing to a string does not fail.
        let _ = write!(shown, "{value}");
        self.line(name, |text| text.extend_from_slice(shown.as_bytes()));
    }

    fn escaped(&mut self, name: &str, value: &[u8]) {
        let encode = self.encode;
        self.line(name, |text| escape(value, encode, text));
    }

    fn tls(&mut self, tls: &TlsFacts) {
        self.plain("Auth-SSL", "on");
        self.plain("Auth-SSL-Protocol", tls.version);
        match tls.cipher.strip_prefix("TLS13_") {
            Some(rest) => self.plain("Auth-SSL-Cipher", format_args!("TLS_{rest}")),
            None => self.plain("Auth-SSL-Cipher", openssl_name(tls.cipher)),
        }
        if let Some(name) = &tls.server_name {
            self.escaped("Auth-SSL-Server-Name", name.as_bytes());
        }
    }
}

fn openssl_name(registered: &str) -> &str {
    let known = OPENSSL_NAMES.iter().find(|(name, _)| *name == registered);
    known.map_or(registered, |(_, name)| name)
}

/// The percent encoding of these servers.
fn escape(value: &[u8], encode: Encode, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &octet in value {
        let is_escaped = match encode {
            Encode::Nginx => octet <= b' ' || octet == b'%',
            Encode::All => !octet.is_ascii_graphic() || octet == b'%',
        };
        if is_escaped {
            let digit = |nibble: u8| DIGITS[usize::from(nibble)];
            out.extend_from_slice(&[b'%', digit(octet >> 4), digit(octet & 15)]);
        } else {
            out.push(octet);
        }
    }
}

const fn method(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::Plain | Mechanism::Login => "plain",
        Mechanism::OAuthBearer => "oauthbearer",
        Mechanism::XOAuth2 => "xoauth2",
        Mechanism::ScramSha256 => "scram-sha-256",
        Mechanism::ScramSha1 => "scram-sha-1",
    }
}

const fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "imap",
        Protocol::Pop3 => "pop3",
        Protocol::ManageSieve => "sieve",
        Protocol::Submission | Protocol::Smtp | Protocol::Lmtp => "smtp",
    }
}

/// The password, or the token of a mechanism that bears one.
fn password(proof: &Proof) -> &[u8] {
    match proof {
        Proof::Password(credential) => credential.password.expose(),
        Proof::Exchange { initial, .. } => bearer(initial.expose()).unwrap_or_default(),
    }
}

fn authzid(proof: &Proof) -> &[u8] {
    match proof {
        Proof::Password(credential) => &credential.authzid,
        Proof::Exchange { .. } => &[],
    }
}

/// The token of OAUTHBEARER (RFC 7628 §3.1) and XOAUTH2, which share the form of their fields.
fn bearer(message: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer ";
    let mut fields = message.split(|octet| *octet == 1);
    let field = fields.find_map(|field| field.strip_prefix(b"auth="))?;
    let scheme = field.get(..SCHEME.len())?;
    let token = &field[SCHEME.len()..];
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}
