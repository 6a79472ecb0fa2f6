//! Configurations from octets: what is spoken, how TLS begins on either leg, what changes the
//! bytes toward a backend, and what may stand in front of the client.
//!
//! Each octet chooses one thing, by a letter of its list, or by its value where it is none of
//! them. What is missing is the first of its list.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_core::config::{
    Balancers, Cidr, Destination, Endpoint, Forwarding, Host, Listener, Normalize, Policy,
    Protocol, ReferralHost, TlsMode, TlsVersion,
};
use gatepost_core::sasl::Mechanism;

/// What a session is played under.
pub(crate) struct Settings {
    pub(crate) listener: Arc<Listener>,
    /// Of everybody.
    pub(crate) destination: Arc<Destination>,
}

impl Settings {
    pub(crate) fn read(head: &[u8]) -> Self {
        let octet = |at: usize| head.get(at).copied().unwrap_or(0);
        let protocol = [
            Protocol::Imap,
            Protocol::Pop3,
            Protocol::ManageSieve,
            Protocol::Submission,
            Protocol::Smtp,
        ][choice(octet(0), b"ipmsx")];
        let modes = [TlsMode::Plain, TlsMode::StartTls, TlsMode::Implicit];
        let forwarding = [Forwarding::None, Forwarding::Xclient, Forwarding::Proxy];
        let flags = Flags(octet(5));
        let endpoint = Endpoint {
            port: 143,
            tls: modes[choice(octet(2), b"psi")],
            forwarding: forwarding[choice(octet(3), b"nxp")],
        };
        let destination = Arc::new(destination(protocol, endpoint, flags));
        let tls = modes[choice(octet(1), b"psi")];
        let mut listener = listener(protocol, tls, flags);
        listener.balancers = balancers(choice(octet(4), b"-ort"));
        if protocol == Protocol::Smtp {
            listener.bridge = Some(Arc::clone(&destination));
        }
        Self { listener: Arc::new(listener), destination }
    }
}

/// The place of the octet in the list.
fn choice(octet: u8, letters: &[u8]) -> usize {
    let listed = letters.iter().position(|letter| *letter == octet);
    listed.unwrap_or(usize::from(octet) % letters.len())
}

/// Choices between two, a bit each.
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    const fn has(self, bit: u8) -> bool {
        self.0 >> bit & 1 == 1
    }
}

/// Where the clients of these sessions come from.
fn trusted() -> Cidr {
    Cidr::new([192, 0, 2, 0].into(), 24).expect("a range")
}

fn balancers(way: usize) -> Option<Balancers> {
    (way > 0).then(|| Balancers {
        required: way > 1,
        trusted: vec![trusted()],
        tls: (way == 3).then(|| "balancer".into()),
    })
}

fn advertised(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Imap => &["IMAP4rev1", "SASL-IR", "LITERAL+"],
        Protocol::Pop3 => &["TOP", "RESP-CODES", "PIPELINING"],
        Protocol::ManageSieve => &["fileinto", "vacation"],
        Protocol::Submission => &["PIPELINING", "8BITMIME", "SIZE 52428800"],
        Protocol::Smtp | Protocol::Lmtp => &[],
    }
}

fn listener(protocol: Protocol, tls: TlsMode, flags: Flags) -> Listener {
    Listener {
        name: "fuzz".into(),
        protocol,
        bridge: None,
        bind: vec![SocketAddr::from(([198, 51, 100, 1], 143))],
        tls,
        balancers: None,
        hostname: "mail.example.com".into(),
        max_connections: 8192,
        max_connections_per_ip: None,
        forwarding_trusted: flags.has(0).then(trusted).into_iter().collect(),
        allow: Vec::new(),
        preauth_timeout: Duration::from_secs(30),
        max_auth_attempts: 3,
        alert: flags.has(1).then(|| "maintenance tonight".into()),
        working_interval: flags.has(1).then_some(Duration::from_secs(2)),
        cleartext_without_tls: tls == TlsMode::Plain || flags.has(2),
        mechanisms: Mechanism::ALL.to_vec(),
        advertise: advertised(protocol).iter().map(|token| String::from(*token)).collect(),
        advertise_auto: false,
        banner: "ready".into(),
        implementation: "Gatepost".into(),
        certificates: vec!["fuzz".into()],
        min_version: TlsVersion::V1_2,
        normalize: Normalize::Lowercase,
        master_user_separators: vec!['%'],
        username_claim: "email".into(),
        lookup_timeout: Duration::from_secs(5),
        backend_timeout: Duration::from_secs(10),
        connect_retries: 2,
        retry_delay: Duration::from_millis(200),
        bridge_idle: Duration::from_secs(1800),
    }
}

fn destination(protocol: Protocol, endpoint: Endpoint, flags: Flags) -> Destination {
    Destination {
        name: "backend".into(),
        hosts: vec![Arc::new(Host::named("imap1.test")), Arc::new(Host::named("imap2.test"))],
        policy: Policy::Rendezvous,
        tls_server_name: None,
        forwarding: endpoint.forwarding,
        tls_allow_invalid_certs: flags.has(6),
        tls_pinned_cert_sha256: Vec::new(),
        tls_client_cert: None,
        tls_client_key: None,
        tls_ca_file: None,
        source_ips: Vec::new(),
        hide_auth_errors: flags.has(3),
        // Where it may not, nobody connects without TLS at all.
        allow_plaintext_auth: endpoint.tls == TlsMode::Plain && !flags.has(7),
        guard: flags.has(4),
        referral_hosts: vec![ReferralHost::Below(".test".into())],
        probing: None,
        proxy_ttl: 7,
        endpoints: vec![(protocol, endpoint)],
    }
}
