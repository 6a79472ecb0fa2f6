//! The configurations under which noise is made: every protocol, every way in which TLS begins on
//! either leg, and what changes the bytes toward a backend.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_core::config::{
    Cidr, Destination, Endpoint, Forwarding, Host, Listener, Normalize, Policy, Protocol,
    ReferralHost, TlsMode, TlsVersion,
};
use gatepost_core::sasl::Mechanism;

const MODES: [TlsMode; 3] = [TlsMode::Plain, TlsMode::StartTls, TlsMode::Implicit];
const FORWARDING: [Forwarding; 3] = [Forwarding::None, Forwarding::Xclient, Forwarding::Proxy];

/// Those of one protocol.
const OF_EACH: usize = 27;

/// How many there are.
pub(crate) const COUNT: usize = 4 * OF_EACH;

/// What is spoken under a configuration.
fn protocol(configuration: usize) -> Protocol {
    [Protocol::Imap, Protocol::Pop3, Protocol::ManageSieve, Protocol::Submission]
        [configuration / OF_EACH]
}

fn advertised(configuration: usize) -> [&'static str; 3] {
    [
        ["IMAP4rev1", "SASL-IR", "LITERAL+"],
        ["TOP", "RESP-CODES", "PIPELINING"],
        ["fileinto", "vacation", "enotify"],
        ["PIPELINING", "8BITMIME", "SIZE 52428800"],
    ][configuration / OF_EACH]
}

/// Where clients of these tests come from.
fn trusted() -> Cidr {
    Cidr::new([192, 0, 2, 0].into(), 24).expect("a range")
}

/// The listener of a configuration, counted from 0.
pub(crate) fn listener(configuration: usize) -> Arc<Listener> {
    let tls = MODES[configuration % 3];
    let forwarding = configuration / 9 % 3;
    Arc::new(Listener {
        name: "noise".into(),
        protocol: protocol(configuration),
        bridge: None,
        bind: vec![SocketAddr::from(([198, 51, 100, 1], 143))],
        tls,
        balancers: None,
        hostname: "mail.example.com".into(),
        max_connections: 8192,
        max_connections_per_ip: None,
        forwarding_trusted: (forwarding == 1).then(trusted).into_iter().collect(),
        allow: Vec::new(),
        preauth_timeout: Duration::from_secs(30),
        max_auth_attempts: 3,
        alert: (forwarding == 1).then(|| "maintenance tonight".into()),
        working_interval: (forwarding != 2).then_some(Duration::from_secs(2)),
        cleartext_without_tls: tls == TlsMode::Plain,
        mechanisms: vec![Mechanism::Plain, Mechanism::Login, Mechanism::XOAuth2],
        advertise: advertised(configuration).map(String::from).to_vec(),
        advertise_auto: false,
        banner: "ready".into(),
        implementation: "Gatepost".into(),
        certificates: vec!["noise".into()],
        min_version: TlsVersion::V1_2,
        normalize: Normalize::Lowercase,
        master_user_separators: vec!['%'],
        username_claim: "email".into(),
        lookup_timeout: Duration::from_secs(5),
        backend_timeout: Duration::from_secs(10),
        connect_retries: 2,
        retry_delay: Duration::from_millis(200),
        bridge_idle: Duration::from_secs(1800),
    })
}

/// A listener whose clients are carried from their first byte, and where to.
pub(crate) fn carried(configuration: usize) -> (Arc<Listener>, Arc<Destination>) {
    let mut destination = (*destination(configuration)).clone();
    destination.endpoints[0].0 = Protocol::Smtp;
    let destination = Arc::new(destination);
    let mut listener = (*listener(configuration)).clone();
    listener.protocol = Protocol::Smtp;
    listener.bridge = Some(Arc::clone(&destination));
    (Arc::new(listener), destination)
}

/// The destination of everybody under a configuration.
pub(crate) fn destination(configuration: usize) -> Arc<Destination> {
    let tls = MODES[configuration / 3 % 3];
    let forwarding = FORWARDING[configuration / 9 % 3];
    Arc::new(Destination {
        name: "backend".into(),
        hosts: vec![Arc::new(Host::named("imap1.test")), Arc::new(Host::named("imap2.test"))],
        policy: Policy::Rendezvous,
        tls_server_name: None,
        forwarding,
        tls_allow_invalid_certs: false,
        tls_pinned_cert_sha256: Vec::new(),
        tls_client_cert: None,
        tls_client_key: None,
        tls_ca_file: None,
        source_ips: Vec::new(),
        hide_auth_errors: false,
        allow_plaintext_auth: tls == TlsMode::Plain,
        guard: false,
        referral_hosts: vec![ReferralHost::Below(".test".into())],
        probing: None,
        proxy_ttl: 7,
        endpoints: vec![(protocol(configuration), Endpoint { port: 143, tls, forwarding })],
    })
}
