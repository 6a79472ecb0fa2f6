//! Backend TLS policies: pins, names, trust and our own certificate, as they are configured.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::tls::samples::Samples;

fn policy(trust: Trust) -> ClientPolicy {
    let (identity, disable_cipher_suites, alpn) = (None, Vec::new(), Vec::new());
    ClientPolicy { trust, identity, disable_cipher_suites, alpn }
}

#[test]
fn a_server_name_is_a_host_or_an_address() {
    for name in ["imap.example.com", "192.0.2.1", "2001:db8::1"] {
        assert!(server_name(name).is_ok(), "{name}");
    }
    for name in ["", "two words", "[2001:db8::1]", "a..b"] {
        assert!(server_name(name).unwrap_err().to_string().contains("tls_server_name"), "{name}");
    }
}

#[test]
fn trust_that_cannot_be_built_is_refused() {
    let samples = Samples::new();
    let junk = samples.file("ca.pem", "hello");
    let fault = |trust| client_config(&policy(trust)).unwrap_err().to_string();
    assert!(fault(Trust::CaFile(junk)).contains("ca.pem: no certificate"));
    assert!(fault(Trust::Pins(Vec::new())).contains("tls_pinned_cert_sha256"));
}

#[test]
fn our_own_certificate_must_fit_its_key() {
    let samples = Samples::new();
    let one = samples.certificate(&["one.example.com"]);
    let other = samples.certificate(&["other.example.com"]);
    let with = |cert: &PathBuf, key: &PathBuf| {
        let identity = Some((cert.clone(), key.clone()));
        client_config(&ClientPolicy { identity, ..policy(Trust::Anything) })
    };
    assert!(with(&one.cert, &one.key).unwrap().client_auth_cert_resolver.has_certs());
    let fault = with(&one.cert, &other.key).unwrap_err().to_string();
    assert!(fault.contains("one.example.com.pem") && fault.contains("other.example.com.key"));
}
