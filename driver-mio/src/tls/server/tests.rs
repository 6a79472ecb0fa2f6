//! Which certificate files are taken, and which are refused in what words.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::tls::samples::{Samples, server_policy};

fn fault<T>(outcome: Result<T, TlsConfigError>) -> String {
    outcome.err().unwrap().to_string()
}

#[test]
fn a_key_of_another_certificate_is_refused_with_both_files_named() {
    let samples = Samples::new();
    let one = samples.certificate(&["one.example.com"]);
    let other = samples.certificate(&["other.example.com"]);
    let mixed = CertificateSource { key: other.key, ..one };
    let fault = fault(Certificate::load(&mixed));
    assert!(fault.contains("one.example.com.pem") && fault.contains("other.example.com.key"));
}

#[test]
fn files_that_hold_something_else_are_refused_by_name() {
    let samples = Samples::new();
    let good = samples.certificate(&["example.com"]);
    let junk = samples.file("junk.pem", "hello");
    let broken = samples.file("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END");
    let absent = samples.file("absent.pem", "").with_file_name("nowhere.pem");
    for (cert, key, expected) in [
        (&junk, &good.key, "junk.pem: no certificate"),
        (&good.key, &good.key, "example.com.key: no certificate"),
        (&broken, &good.key, "broken.pem: "),
        (&absent, &good.key, "nowhere.pem: cannot be read"),
        (&good.cert, &junk, "junk.pem: no private key"),
        (&good.cert, &good.cert, "example.com.pem: no private key"),
        (&good.cert, &absent, "nowhere.pem: cannot be read"),
    ] {
        let source = CertificateSource { cert: cert.clone(), key: key.clone(), ..good.clone() };
        let fault = fault(Certificate::load(&source));
        assert!(fault.contains(expected), "{fault}");
    }
}

#[test]
fn subjects_come_from_the_certificate_unless_they_are_given() {
    let samples = Samples::new();
    let own = samples.certificate(&["example.com", "*.example.com"]);
    assert_eq!(Certificate::load(&own).unwrap().subjects(), ["example.com", "*.example.com"]);
    let given = CertificateSource { subjects: vec!["mail.test".to_owned()], ..own };
    assert_eq!(Certificate::load(&given).unwrap().subjects(), ["mail.test"]);
}

#[test]
fn a_listener_needs_a_certificate_and_at_most_one_default() {
    let samples = Samples::new();
    let load = |name, default| {
        let source = CertificateSource { default, ..samples.certificate(&[name]) };
        Certificate::load(&source).unwrap()
    };
    let tls = ServerTls::new().unwrap();
    let fault_of = |certificates: &[_]| fault(tls.config(certificates, &server_policy()));
    assert!(fault_of(&[]).contains("needs a certificate"));
    let fault = fault_of(&[load("a.test", true), load("b.test", true)]);
    assert!(fault.contains("\"a.test\" and \"b.test\""), "{fault}");
}

#[test]
fn without_a_flag_the_first_certificate_is_the_default() {
    let samples = Samples::new();
    let load = |name: &str, default| {
        let source = CertificateSource { default, ..samples.certificate(&[name]) };
        Certificate::load(&source).unwrap()
    };
    let chosen = |certificates: &[Arc<Certificate>]| {
        let choice = choice_of(certificates).unwrap();
        let key = Arc::clone(choice.candidates(Some("else.test")).next().unwrap());
        certificates.iter().position(|certificate| Arc::ptr_eq(&certificate.key, &key))
    };
    assert_eq!(chosen(&[load("a.test", false), load("b.test", false)]), Some(0));
    assert_eq!(chosen(&[load("a.test", false), load("b.test", true)]), Some(1));
}

#[test]
fn suites_that_nobody_knows_are_refused_with_the_known_ones() {
    let samples = Samples::new();
    let certificate = Certificate::load(&samples.certificate(&["example.com"])).unwrap();
    let tls = ServerTls::new().unwrap();
    let config = |min_version, suites: &[&str]| {
        let disable_cipher_suites = suites.iter().map(|&suite| suite.to_owned()).collect();
        let policy = ServerPolicy { min_version, disable_cipher_suites, ..server_policy() };
        tls.config(std::slice::from_ref(&certificate), &policy)
    };
    let unknown = fault(config(MinVersion::Tls12, &["RC4-MD5"]));
    assert!(unknown.contains("RC4-MD5") && unknown.contains("TLS13_AES_128_GCM_SHA256"));
    let twice = ["TLS_AES_128_GCM_SHA256", "TLS13_AES_128_GCM_SHA256"];
    let left = config(MinVersion::Tls12, &twice).unwrap();
    let suites = &left.crypto_provider().cipher_suites;
    assert_eq!(suites.len(), default_provider().cipher_suites.len() - 1);
    let of_tls13 =
        ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    assert!(fault(config(MinVersion::Tls13, &of_tls13)).contains("disable_cipher_suites"));
    assert!(config(MinVersion::Tls12, &of_tls13).is_ok());
}
