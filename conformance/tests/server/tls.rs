//! TLS on either leg: whom the server shows itself as, what it agrees to, what it resumes, and
//! what the log says when a backend's certificate will not do.

use std::io;
use std::sync::Arc;

use gatepost_conformance::backend::tls::SelfSigned;
use gatepost_conformance::rig::Tls;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    SupportedProtocolVersion,
};

use crate::server::program::Program;
use crate::server::stage::{Backend, Draft, Stage};
use crate::server::wire::Wire;

/// A client of these versions, that trusts these certificates and offers these protocols.
fn client_config(
    trusted: &[&SelfSigned],
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&[u8]],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.certificate().clone()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn connect(stage: &Stage, config: &Arc<ClientConfig>, name: &str) -> io::Result<Wire> {
    let mut wire = Wire::connect(stage.address(Tls::Implicit));
    wire.secure(Arc::clone(config), name)?;
    Ok(wire)
}

fn stage(backend: &Backend, keys: &str) -> Stage {
    let draft = Draft::new("threads = 2").listener(Tls::Implicit, 0, keys);
    draft.destination("far", backend, "").start()
}

#[test]
fn the_name_that_a_client_asks_for_decides_the_certificate() {
    let backend = Backend::start(Tls::Plain);
    let mut draft = Draft::new("").listener(Tls::Implicit, 0, "");
    let others = [SelfSigned::new(&["a.test"]).unwrap(), SelfSigned::new(&["b.test"]).unwrap()];
    for (name, certificate) in ["a", "b"].into_iter().zip(&others) {
        let cert = draft.file(&format!("{name}.pem"), certificate.certificate_pem());
        let key = draft.file(&format!("{name}.key"), certificate.private_key_pem());
        draft.add(&format!("[tls.certificate.{name}]\ncert = \"{cert}\"\nkey = \"{key}\"\n"));
    }
    let stage = draft.destination("far", &backend, "").start();
    let main = &stage.draft.certificate;
    let [a, b] = &others;
    for versions in [[&TLS12], [&TLS13]] {
        let config = client_config(&[main, a, b], &versions, &[]);
        // An address is no name to ask for.
        for (name, expected) in
            [("a.test", a), ("b.test", b), ("localhost", main), ("127.0.0.1", main), ("a.test", a)]
        {
            let mut client = connect(&stage, &config, name).unwrap();
            let shown = client.tls.as_ref().unwrap().peer_certificates().unwrap();
            assert_eq!(&shown[0], expected.certificate(), "for {name}");
            client.log_in("far@test");
        }
    }
}

#[test]
fn a_client_that_speaks_other_protocols_is_refused() {
    let backend = Backend::start(Tls::Plain);
    let stage = stage(&backend, "");
    let main = &stage.draft.certificate;
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let offers = |protocols: &[&[u8]]| {
            let config = client_config(&[main], versions, protocols);
            connect(&stage, &config, "localhost")
        };
        for others in [&[&b"http/1.1"[..]][..], &[b"pop3", b"managesieve"]] {
            let error = offers(others).err().unwrap().to_string();
            assert!(error.contains("NoApplicationProtocol"), "{error}");
        }
        for (offered, agreed) in [(&[][..], None), (&[&b"h2"[..], b"imap"], Some(&b"imap"[..]))] {
            let mut client = offers(offered).unwrap();
            assert_eq!(client.tls.as_ref().unwrap().alpn_protocol(), agreed);
            client.log_in("far@test");
        }
    }
}

#[test]
fn each_listener_has_its_lowest_version() {
    let backend = Backend::start(Tls::Plain);
    let stage = Draft::new("")
        .listener(Tls::Implicit, 0, "min_version = \"1.3\"")
        .listener(Tls::Starttls, 0, "")
        .destination("far", &backend, "")
        .start();
    let main = &stage.draft.certificate;
    let upgrade = |config: &Arc<ClientConfig>| {
        let mut client = Wire::connect(stage.address(Tls::Starttls));
        client.expect("* OK ");
        client.say("s STARTTLS\r\n");
        assert!(client.answer("s").starts_with("OK "));
        client.secure(Arc::clone(config), "localhost").unwrap();
        client
    };
    let old = client_config(&[main], &[&TLS12], &[]);
    let error = connect(&stage, &old, "localhost").err().unwrap().to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
    for (config, expected) in [
        (&old, ProtocolVersion::TLSv1_2),
        (&client_config(&[main], &BOTH, &[]), ProtocolVersion::TLSv1_3),
    ] {
        let mut client = upgrade(config);
        assert_eq!(client.tls.as_ref().unwrap().protocol_version(), Some(expected));
        client.say("a LOGIN far@test x\r\n");
        assert!(client.answer("a").starts_with("OK "));
        let mut far = backend.session();
        client.echo(&mut far, "inside");
    }
    connect(&stage, &client_config(&[main], &[&TLS13], &[]), "localhost").unwrap();
}

#[test]
fn clients_resume_their_sessions_with_any_worker() {
    let backend = Backend::start(Tls::Plain);
    let stage = stage(&backend, "");
    for versions in [[&TLS12], [&TLS13]] {
        let config = client_config(&[&stage.draft.certificate], &versions, &[]);
        for number in 0..8 {
            let mut client = connect(&stage, &config, "localhost").unwrap();
            // The ticket of TLS 1.3 comes behind the handshake.
            client.log_in("far@test");
            let kind = client.tls.as_ref().unwrap().handshake_kind();
            let expected = if number == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
            assert_eq!(kind, Some(expected));
        }
    }
}

#[test]
fn logins_at_one_backend_resume_its_session_and_no_other() {
    let (one, other) = (Backend::start(Tls::Implicit), Backend::start(Tls::Implicit));
    let stage = Draft::new("threads = 2")
        .listener(Tls::Plain, 0, "")
        .destination("one", &one, "")
        .destination("other", &other, "")
        .start();
    let kind = |user: &str, backend: &Backend| {
        let (mut near, mut far) = stage.session(Tls::Plain, user, backend);
        near.echo(&mut far, "through it");
        far.tls.as_ref().unwrap().handshake_kind()
    };
    assert_eq!(kind("one@test", &one), Some(HandshakeKind::Full));
    for _ in 0..4 {
        assert_eq!(kind("one@test", &one), Some(HandshakeKind::Resumed));
    }
    assert_eq!(kind("other@test", &other), Some(HandshakeKind::Full));
    assert_eq!(kind("other@test", &other), Some(HandshakeKind::Resumed));
}

/// An authority that nobody heard of.
fn stranger() -> String {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "a stranger");
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

/// A server whose certificate was good until some years ago; and that certificate.
fn expired() -> (Arc<ServerConfig>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(2020, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    (Arc::new(config), certificate.pem())
}

#[test]
fn the_log_says_what_is_wrong_with_a_backends_certificate() {
    let backend = Backend::start(Tls::Implicit);
    let (config, expired_pem) = expired();
    let old = Backend::start_showing(config);
    let mut draft = Draft::new("threads = 1").listener(Tls::Plain, 0, "");
    let right = draft.file("right.pem", backend.certificate.as_ref().unwrap().certificate_pem());
    let wrong = draft.file("wrong.pem", &stranger());
    let expired = draft.file("expired.pem", &expired_pem);
    let pin = "00".repeat(32);
    let cases = [
        ("good", &backend, format!("tls_ca_file = \"{right}\""), "localhost"),
        ("unknown-issuer", &backend, format!("tls_ca_file = \"{wrong}\""), "localhost"),
        ("name-mismatch", &backend, format!("tls_ca_file = \"{right}\""), "other.test"),
        ("pin-mismatch", &backend, format!("tls_pinned_cert_sha256 = \"{pin}\""), "localhost"),
        ("expired", &old, format!("tls_ca_file = \"{expired}\""), "localhost"),
    ];
    for (name, backend, trust, host) in &cases {
        let keys = format!("{trust}\ntls_server_name = \"{host}\"");
        draft = draft.destination_at(name, "127.0.0.1", backend.address.port(), &keys);
    }
    let Some(program) = Program::run(draft) else { return };
    program.client(Tls::Plain).log_in("good@test");
    drop(backend.session());
    for (name, backend, ..) in &cases[1..] {
        let mut client = program.client(Tls::Plain);
        client.expect("* OK ");
        client.say(format!("a LOGIN {name}@test x\r\n"));
        assert!(client.answer("a").starts_with("NO [SERVERBUG] "), "{name}");
        // A fault of configuration is not tried again, and no credential was sent.
        let lines = program.lines(&["attempt-failed", &format!("destination={name} ")]);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.contains(" fault=tls/certificate state=tls "), "{line}");
        let detail = line.split("detail=").nth(1).unwrap();
        assert_eq!(detail, format!("backend/{name}"), "{line}");
        assert!(backend.is_unused());
    }
}
