//! The `tls` table: the certificates that clients see, and what is common to all TLS with clients.
//!
//! Not here: the contents of certificate files, and TLS with backends, which is each destination's.
//! Read next: `listener`, which names certificates.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use super::{
    address::is_host_name,
    choice::TlsVersion,
    reader::{Section, Value},
};

/// A certificate with its key, as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its name in the configuration.
    pub name: String,
    /// Path of the chain, PEM.
    pub cert: String,
    /// Path of the private key, PEM.
    pub key: String,
    /// Names it serves (`*.` stands for one label); empty: those that the certificate holds.
    pub subjects: Vec<String>,
    /// Whether it serves clients that name no host or an unknown one; true for one at most.
    pub default: bool,
}

/// What is common to TLS on every listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsProtocols {
    /// The lowest version where a listener has none of its own; already merged into listeners.
    pub min_version: TlsVersion,
    /// Whether our order of cipher suites decides, not the client's.
    pub ignore_client_order: bool,
    /// Cipher suites that are not used, by name.
    pub disable_cipher_suites: Vec<String>,
}

/// The cipher suites there are: those of TLS 1.3 first.
const CIPHER_SUITES: [&str; 9] = [
    "TLS13_AES_256_GCM_SHA384",
    "TLS13_AES_128_GCM_SHA256",
    "TLS13_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];
const TLS13_PREFIX: &str = "TLS13_";

pub(super) fn read_certificates(tls: &Section<'_>) -> Vec<Certificate> {
    let mut certificates: Vec<Certificate> = Vec::new();
    for (name, section) in tls.named("certificate") {
        let hint = "name a PEM file";
        let certificate = Certificate {
            name: name.to_owned(),
            cert: section.required("cert", hint, Value::file).unwrap_or_default(),
            key: section.required("key", hint, Value::file).unwrap_or_default(),
            subjects: section.or("subjects", Vec::new(), |value| value.list(subject)),
            default: section.or("default", false, Value::boolean),
        };
        let first = certificates.iter().find(|other| other.default && certificate.default);
        if let Some(first) = first {
            let problem = format!("\"{}\" is the default already", first.name);
            section.fault(&["default"], problem, "let one certificate be it");
        }
        certificates.push(certificate);
    }
    certificates
}

fn subject(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if !is_host_name(text.strip_prefix("*.").unwrap_or(text)) {
        let problem = format!("\"{}\" is no host name", text.escape_debug());
        value.fault(problem, "write a name such as \"mail.example.com\" or \"*.example.com\"");
        return None;
    }
    Some(text.to_ascii_lowercase())
}

pub(super) fn read_protocols(section: &Section<'_>) -> TlsProtocols {
    let disabled = |value: &Value<'_>| value.list(cipher_suite);
    let protocols = TlsProtocols {
        min_version: section.or("min_version", TlsVersion::V1_2, |value| value.choice()),
        ignore_client_order: section.or("ignore_client_order", false, Value::boolean),
        disable_cipher_suites: section.or("disable_cipher_suites", Vec::new(), disabled),
    };
    let usable = |suite: &str| {
        !protocols.disable_cipher_suites.iter().any(|disabled| disabled == suite)
            && (protocols.min_version == TlsVersion::V1_2 || suite.starts_with(TLS13_PREFIX))
    };
    if !CIPHER_SUITES.into_iter().any(usable) {
        let problem = "leaves no cipher suite for the TLS versions that are allowed";
        section.fault(&["disable_cipher_suites"], problem, "take some out of the list");
    }
    protocols
}

fn cipher_suite(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if !CIPHER_SUITES.contains(&text) {
        value.not_a_choice(text, CIPHER_SUITES.into_iter());
        return None;
    }
    Some(text.to_owned())
}
